"""Every test has a home of its own and none of the user's EDGERUN_ variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgerun.backends.gpu.device import Device

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODELS = Path.home() / ".cache" / "edgerun-test-models"
GPU = os.environ.get("EDGERUN_TEST_GPU")                      # a part of its name; else any, of software where there is no other
GPU_REQUIRED = os.environ.get("EDGERUN_REQUIRE_GPU") == "1"   # what needs a device fails without one


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The default model: in $EDGERUN_TEST_MODELS, among the test models, or where `edgerun pull` put it. Skips without one."""
    from edgerun.errors import EdgerunError
    from edgerun.hub import resolve

    for folder in (os.environ.get("EDGERUN_TEST_MODELS"), MODELS):
        if folder and (path := Path(folder) / MODEL).is_file():
            return path
    try:
        return resolve("smollm2:135m", download=False)
    except EdgerunError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def gpu_name() -> str:
    """What the device is called that tests compute on. Skips without one, unless one is required."""
    from edgerun.backends.gpu.device import adapters, choose
    from edgerun.errors import DeviceError, EdgerunError

    try:
        found = adapters()
        fitting = [choose(found, GPU)] if GPU else [adapter for adapter in found if adapter.facts.backend != "OpenGL"]
        if not fitting:
            raise DeviceError("no GPU, not even one of software")
        return fitting[0].facts.summary
    except EdgerunError as error:
        if GPU_REQUIRED:
            pytest.fail(f"a GPU is required: {error}")
        pytest.skip(f"no GPU to test: {error}")


@pytest.fixture(scope="session")
def gpu_device(gpu_name: str) -> Iterator[Device]:
    """The same, opened."""
    from edgerun.backends.gpu.device import open_device

    device = open_device(gpu_name)
    yield device
    device.close()


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the kernels of all tests, which are compiled once, and is the home of those with a real model.

    $EDGERUN_TEST_HOME keeps it for the next run.
    """
    kept = os.environ.get("EDGERUN_TEST_HOME")
    return Path(kept) if kept else tmp_path_factory.mktemp("shared-home")


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of this test."""
    shared: Path = request.getfixturevalue("shared_home")
    folder = shared if "smollm2" in request.fixturenames else tmp_path_factory.mktemp("home")
    monkeypatch.setattr("edgerun.config.kernels_folder", lambda: shared / "kernels")
    for name in [name for name in os.environ if name.startswith("EDGERUN_") and name != "EDGERUN_ISA"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EDGERUN_HOME", str(folder))
    return folder
