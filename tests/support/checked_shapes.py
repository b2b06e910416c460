"""The switch that has the shapes and dtypes of annotations checked, in the tests alone: elsewhere they cost nothing.

Import this before the modules that it names. Every call of their functions is then checked, and every dataclass that they make.
"""

from jaxtyping import install_import_hook

CHECKED = [  # packages with all that is in them, or single modules
    "int_lightning_kernels",
    "int_lightning.engines.kv_cache",
    "int_lightning.engines.transformers",
    "int_lightning.learn.liger_layers",
    "int_lightning.learn.lora",
    "int_lightning.learn.micro_batches",
    "int_lightning.learn.model",
    "int_lightning.learn.packed_attention",
    "int_lightning.learn.self_test",
]

install_import_hook(CHECKED, "beartype.beartype")
