"""The switch that has the shapes and dtypes of annotations checked, in the tests alone: elsewhere they cost nothing.

Import this before the modules that it names. Every call of their functions is then checked, and every dataclass that they make.
"""

from jaxtyping import install_import_hook

CHECKED = [
    "int_lightning_kernels",
    "int_lightning.learn.micro_batches",
]  # packages with all that is in them, or single modules

install_import_hook(CHECKED, "beartype.beartype")
