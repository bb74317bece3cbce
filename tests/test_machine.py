from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgerun import machine
from edgerun.errors import UsageError

GIB = 1 << 30


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def eight_cores(root: Path, siblings: int = 1) -> Path:
    files: dict[str, object] = {"sys/devices/system/cpu/online": "0-7"}
    for cpu in range(8):
        first = cpu - cpu % siblings
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list"] = f"{first}-{first + siblings - 1}" if siblings > 1 else first
    return tree(root, files)


def version2(root: Path, path: str = "/box") -> Path:
    return tree(root, {
        "proc/self/cgroup": f"0::{path}",
        "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate",
    })


def version1(root: Path, top: str = "/", path: str = "/box") -> Path:
    return tree(root, {
        "proc/self/cgroup": f"4:memory:{path}\n1:cpu,cpuacct:{path}\n0::/",
        "proc/self/mountinfo": f"32 31 0:29 {top} /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
                               f"35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    })


def test_every_core_is_used_by_default(tmp_path: Path) -> None:
    assert machine.threads(root=eight_cores(tmp_path)) == machine.Threads(8, "8 cores allowed to this process")


def test_hyperthreads_share_a_thread(tmp_path: Path) -> None:
    assert machine.threads(root=eight_cores(tmp_path, siblings=2)) == machine.Threads(4, "4 fast physical cores of 8 logical ones")


def test_efficiency_cores_are_left_out(tmp_path: Path) -> None:
    root = tree(eight_cores(tmp_path), {"sys/devices/cpu_core/cpus": "0-1", "sys/devices/cpu_atom/cpus": "2-7"})
    assert machine.threads(root=root).count == 2


def test_little_cores_are_left_out(tmp_path: Path) -> None:
    capacity = {f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity": 1024 if cpu < 3 else 400 for cpu in range(8)}
    assert machine.threads(root=tree(eight_cores(tmp_path), capacity)).count == 3


@pytest.mark.parametrize(("limit", "count"), [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("", 8), ("x y", 8)])
def test_quota_is_rounded_down(tmp_path: Path, limit: str, count: int) -> None:
    root = tree(version2(eight_cores(tmp_path)), {"sys/fs/cgroup/box/cpu.max": limit})
    assert machine.threads(root=root).count == count


def test_the_tightest_group_on_the_way_up_counts(tmp_path: Path) -> None:
    root = version2(eight_cores(tmp_path), "/a/b")
    tree(root, {"sys/fs/cgroup/a/b/cpu.max": "600000 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000"})
    assert machine.cpu_quota(root) == 3


def test_version1_quota(tmp_path: Path) -> None:
    root = version1(eight_cores(tmp_path))
    tree(root, {"sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": 250000, "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": 100000})
    assert machine.threads(root=root) == machine.Threads(2, "control group quota of 2.5 cores")
    tree(root, {"sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": -1})
    assert machine.threads(root=root).count == 8


def test_threads_asked_for_are_capped_by_what_can_run(tmp_path: Path) -> None:
    root = tree(version2(eight_cores(tmp_path)), {"sys/fs/cgroup/box/cpu.max": "200000 100000"})
    assert machine.threads(8, root) == machine.Threads(
        2, "control group quota of 2 cores", "using 2 of the 8 threads asked for: control group quota of 2 cores"
    )
    assert machine.threads(1, root) == machine.Threads(1, "as asked")


def test_hyperthreads_may_be_asked_for(tmp_path: Path) -> None:
    assert machine.threads(8, eight_cores(tmp_path, siblings=2)).count == 8


def test_no_thread_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        machine.threads(0)


def test_bare_root_still_answers(tmp_path: Path) -> None:
    assert machine.threads(root=tmp_path).count == 1
    assert machine.memory(tmp_path).available > 0
    assert machine.cpu_quota(tmp_path) is None


def test_memory_without_groups(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB"})
    assert machine.memory(root) == machine.Memory(8 * GIB, "free memory of this machine")


def test_memory_of_a_version2_group_counts_file_cache_as_free(tmp_path: Path) -> None:
    root = tree(version2(tmp_path), {
        "proc/meminfo": "MemAvailable: 8388608 kB",
        "sys/fs/cgroup/box/memory.max": 4 * GIB,
        "sys/fs/cgroup/box/memory.current": 3 * GIB,
        "sys/fs/cgroup/box/memory.stat": f"anon {GIB}\nfile {2 * GIB}\ninactive_file {GIB}\nactive_file {GIB}",
    })
    assert machine.memory(root) == machine.Memory(3 * GIB, "limit of the control group")
    tree(root, {"sys/fs/cgroup/box/memory.high": 2 * GIB})
    assert machine.memory(root).available == GIB


def test_memory_of_a_version1_group(tmp_path: Path) -> None:
    root = tree(version1(tmp_path), {
        "proc/meminfo": "MemAvailable: 8388608 kB",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": 2 * GIB,
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": GIB,
        "sys/fs/cgroup/memory/box/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB // 2}\ntotal_active_file 0",
    })
    assert machine.memory(root).available == 2 * GIB - GIB // 2


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    root = tree(version2(tmp_path), {"sys/fs/cgroup/box/memory.max": 5, "sys/fs/cgroup/box/memory.current": 9})
    assert machine.memory(root).available == 0


def test_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    # docker with version 1: the path names the group on the host, the mount shows that group as its top
    root = version1(tmp_path, top="/docker/abc", path="/docker/abc")
    tree(root, {"sys/fs/cgroup/memory/memory.limit_in_bytes": GIB, "sys/fs/cgroup/memory/memory.usage_in_bytes": 0})
    assert machine.memory(root).available == GIB


@pytest.mark.parametrize("path", ["/../other", "/gone", "/a/../../../../etc"])
def test_group_outside_the_mount_falls_back_to_its_top(tmp_path: Path, path: str) -> None:
    root = tree(version2(tmp_path, path), {"sys/fs/cgroup/cpu.max": "100000 100000"})
    assert machine.cpu_quota(root) == 1


def test_damaged_kernel_files_set_no_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": "nonsense\n0::", "proc/self/mountinfo": "x - y\n - \n1 2 3", "sys/devices/system/cpu/online": "0-x",
        "proc/meminfo": "MemAvailable: lots",
    })
    assert machine.threads(root=root).count == 1
    assert machine.memory(root).available > 0


def test_peak_memory(tmp_path: Path) -> None:
    assert machine.peak_memory(tree(tmp_path, {"proc/self/status": "VmPeak:\t 99 kB\nVmHWM:\t 12 kB"})) == 12 << 10
    assert machine.peak_memory() > 1 << 20
    assert machine.peak_memory(tmp_path / "nowhere") > 1 << 20


def test_peak_memory_can_begin_anew(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/clear_refs": ""})
    machine.forget_peak_memory(root)
    assert (root / "proc/self/clear_refs").read_text() == "5"
    machine.forget_peak_memory(tmp_path / "nowhere")


# ---- what the CPU is -------------------------------------------------------------------------------------------------


def test_the_processor_and_its_caches(tmp_path: Path) -> None:
    cache = "sys/devices/system/cpu/cpu2/cache"
    root = tree(tmp_path, {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: A  Fast\tCPU\n\nprocessor\t: 1\nmodel name\t: A  Fast\tCPU\n",
        "sys/devices/system/cpu/online": "2-5",
        f"{cache}/index0/level": "1", f"{cache}/index0/type": "Data", f"{cache}/index0/size": "48K", f"{cache}/index0/shared_cpu_list": "2",
        f"{cache}/index3/level": "3", f"{cache}/index3/type": "Unified", f"{cache}/index3/size": "32M", f"{cache}/index3/shared_cpu_list": "2-5",
        f"{cache}/index4/level": "4", f"{cache}/index4/size": "lots",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    })  # fmt: skip
    assert machine.cpu_name(root) == "A Fast CPU"
    assert machine.cores(root) == {2, 3, 4, 5}
    assert machine.caches(root) == [machine.Cache(1, "Data", 48 << 10, 1), machine.Cache(3, "Unified", 32 << 20, 4)]
    assert machine.huge_pages(root) == "madvise"


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert machine.caches(tmp_path) == []
    assert machine.huge_pages(tmp_path) == ""
    assert "\n" not in machine.cpu_name(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files of GPUs")
def test_where_a_gpu_may_be(tmp_path: Path) -> None:
    assert not machine.may_have_gpu(tmp_path)
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/card0").touch()   # a screen, perhaps a virtual one
    assert not machine.may_have_gpu(tmp_path)
    (tmp_path / "dev/dri/renderD128").touch()
    assert machine.may_have_gpu(tmp_path)
