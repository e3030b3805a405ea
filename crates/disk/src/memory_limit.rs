//! How much memory this process may use: the smallest limit of its control groups, or the machine's memory.
//!
//! ```text
//! /proc/self/cgroup       0::/system.slice/milena.service          its group in the one hierarchy of version 2
//!                         4:memory:/docker/0123                    its group in the hierarchy of version 1 for memory
//! /proc/self/mountinfo    .. ROOT MOUNT-POINT .. - cgroup2 ..      where a hierarchy is seen, from which group on
//! MOUNT-POINT/GROUP/memory.max, memory.limit_in_bytes              a limit; each group above may set a smaller one
//! /proc/meminfo           MemTotal: 24684096 kB
//! ```
//! Source: `Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/memory.rst` and `filesystems/proc.rst` of Linux.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Bytes that this process may use; `None` where the system tells nothing.
pub fn memory_limit_bytes() -> Option<u64> {
    limit_below(Path::new("/"))
}

/// A kind of hierarchy: how it is found, and the file with a group's limit.
struct Hierarchy {
    /// The type of its file system.
    kind: &'static str,
    /// What stands among the controllers in `/proc/self/cgroup`, and among the options of the mount.
    controller: &'static str,
    limit: &'static str,
}

const HIERARCHIES: [Hierarchy; 2] = [
    Hierarchy { kind: "cgroup2", controller: "", limit: "memory.max" },
    Hierarchy { kind: "cgroup", controller: "memory", limit: "memory.limit_in_bytes" },
];

/// The same for a file system that begins at `root`.
fn limit_below(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let of_groups = HIERARCHIES.iter().filter_map(|hierarchy| {
        let group = group_in(&groups, hierarchy)?;
        let (seen_from, mount_point) = mounts.lines().find_map(|line| mount(line, hierarchy))?;
        let mount_point = root.join(mount_point.strip_prefix("/").ok()?);
        // A group that the mount does not show is outside of this container: what is shown is all there is to obey.
        let below = Path::new(group).strip_prefix(seen_from).unwrap_or(Path::new(""));
        smallest_limit(&mount_point, below, hierarchy.limit)
    });
    of_groups.chain(machine_bytes(&read("proc/meminfo"))).min()
}

/// The group of this process, from a line `NUMBER:CONTROLLERS:GROUP`.
fn group_in<'a>(groups: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|name| name == hierarchy.controller).then(|| parts.next())?
    })
}

/// From which group on, and where, a line of `mountinfo` shows the hierarchy.
fn mount(line: &str, hierarchy: &Hierarchy) -> Option<(PathBuf, PathBuf)> {
    let (place, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    let is_kind = system.next() == Some(hierarchy.kind);
    let mut options = system.nth(1)?.split(',');
    let is_ours = is_kind && (hierarchy.controller.is_empty() || options.any(|option| option == hierarchy.controller));
    let mut place = place.split(' ').skip(3);
    let (root, mount_point) = (place.next()?, place.next()?);
    is_ours.then(|| (PathBuf::from(root), PathBuf::from(mount_point)))
}

/// The smallest limit of a group and of all above it that the mount shows. What is no number (`max`) is no limit.
fn smallest_limit(mount_point: &Path, below: &Path, file: &str) -> Option<u64> {
    // Names alone: nothing leads out of the mount.
    let named: PathBuf = below.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let limit = |group: &Path| fs::read_to_string(mount_point.join(group).join(file)).ok()?.trim().parse::<u64>().ok();
    named.ancestors().filter_map(limit).min()
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        4194304 kB\nMemFree:  1 kB\n");
    const UNLIMITED: &str = "9223372036854771712\n";

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        limit_below(root.path())
    }

    #[test]
    fn without_a_limit_the_machine_s_memory_counts() {
        assert_eq!(limit(&[MEMINFO]), Some(4 << 30));
        assert_eq!(limit(&[]), None);
        let unlimited = [
            MEMINFO,
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
        ];
        assert_eq!(limit(&unlimited), Some(4 << 30));
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_holds() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/system.slice/milena.service\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"),
            ("sys/fs/cgroup/system.slice/milena.service/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit(&files), Some(1 << 30));
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_root_finds_its_limit() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ];
        assert_eq!(limit(&files), Some(512 << 20));
    }

    #[test]
    fn the_older_hierarchy_is_read_beside_the_newer_one() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/docker/abc/inner\n2:cpu,cpuacct:/docker/abc\n0::/\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", UNLIMITED),
        ];
        assert_eq!(limit(&files), Some(256 << 20));
    }

    #[test]
    fn a_group_outside_of_what_is_mounted_leads_nowhere_else() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/../../elsewhere\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("elsewhere/memory.max", "1\n"),
        ];
        assert_eq!(limit(&files), Some(1 << 30));
    }

    #[test]
    fn a_limit_above_the_machine_s_memory_limits_nothing() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/\n"),
            ("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED),
        ];
        assert_eq!(limit(&files), Some(4 << 30));
    }
}
