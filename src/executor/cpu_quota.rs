//! The CPU quota of this process. A container often has a fraction of a core, which std's `available_parallelism` rounds to
//! one core.
//!
//! Linux limits a control group (cgroup) and every group above it: v2 in `cpu.max`, v1 in `cpu.cfs_quota_us` and
//! `cpu.cfs_period_us`. The smallest limit applies.

use std::path::Path;

/// Returns the CPU quota of this process in cores, if it is smaller than the number of available cores.
pub(crate) fn cpu_quota_cores() -> Option<f64> {
    let quota = quota_below(Path::new("/"))?;
    cores().is_none_or(|cores| quota < cores).then_some(quota)
}

/// Returns the number of cores on which this process may run.
#[cfg(target_os = "linux")]
fn cores() -> Option<f64> {
    rustix::thread::sched_getaffinity(None).ok().map(|cores| f64::from(cores.count()))
}

/// Other systems have no control groups.
#[cfg(not(target_os = "linux"))]
fn cores() -> Option<f64> {
    None
}

/// Returns the smallest quota of the control groups of this process, in cores. `root` contains `proc` and the mount points.
fn quota_below(root: &Path) -> Option<f64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = std::fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let quotas = groups.lines().filter_map(Group::parse).filter_map(|group| {
        let mount = mounts.lines().filter_map(Mount::parse).find(|mount| mount.holds(&group))?;
        group.smallest_quota(root, &mount)
    });
    quotas.min_by(f64::total_cmp)
}

/// A control group of this process that may have a CPU quota.
struct Group<'a> {
    is_v2: bool,
    path: &'a str,
}

impl<'a> Group<'a> {
    /// Parses a line of `/proc/self/cgroup`: `0::/path`, `4:cpu,cpuacct:/path`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_v2 = number == "0" && controllers.is_empty();
        (is_v2 || controllers.split(',').any(|name| name == "cpu")).then_some(Self { is_v2, path })
    }

    /// Returns the smallest quota of the group and its visible parents.
    fn smallest_quota(&self, root: &Path, mount: &Mount) -> Option<f64> {
        let mounted = root.join(mount.point.trim_start_matches('/'));
        // In a container, the mount point is the container's own group, with its path outside the container.
        let inside = self.path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(self.path);
        let has_parents = inside.split('/').all(|part| part != "..");
        let own = if has_parents { mounted.join(inside.trim_start_matches('/')) } else { mounted.clone() };
        let groups = own.ancestors().take_while(|group| group.starts_with(&mounted));
        groups.filter_map(|group| self.quota(group)).min_by(f64::total_cmp)
    }

    fn quota(&self, group: &Path) -> Option<f64> {
        let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
        if self.is_v2 {
            parse_max(&read("cpu.max")?)
        } else {
            parse_cfs(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
        }
    }
}

/// A mount point of control groups.
struct Mount<'a> {
    is_v2: bool,
    has_cpu: bool,
    /// The group that is visible at the mount point.
    root: &'a str,
    point: &'a str,
}

impl<'a> Mount<'a> {
    /// Parses a line of `/proc/self/mountinfo`:
    /// `34 32 0:29 /root /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu`.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
        let is_v2 = kind == "cgroup2";
        let has_cpu = is_v2 || options.split(',').any(|option| option == "cpu");
        (is_v2 || kind == "cgroup").then_some(Self { is_v2, has_cpu, root, point })
    }

    fn holds(&self, group: &Group) -> bool {
        self.is_v2 == group.is_v2 && self.has_cpu
    }
}

/// Parses `cpu.max`: `5000 100000` means 0.05 cores, `max 100000` means no quota.
fn parse_max(text: &str) -> Option<f64> {
    let mut fields = text.split_whitespace();
    let quota = fields.next()?;
    ratio(quota.parse().ok()?, fields.next().map_or(Some(100_000.0), |period| period.parse().ok())?)
}

/// Parses `cpu.cfs_quota_us` and `cpu.cfs_period_us`; -1 means no quota.
fn parse_cfs(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn ratio(quota_us: f64, period_us: f64) -> Option<f64> {
    let cores = quota_us / period_us;
    (quota_us > 0.0 && period_us > 0.0 && cores.is_finite()).then_some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_parsed_and_invalid_ones_are_ignored() {
        assert_eq!(parse_max("5000 100000\n"), Some(0.05));
        assert_eq!(parse_max("250000 100000\n"), Some(2.5));
        assert_eq!(parse_max("50000\n"), Some(0.5), "the period has a default");
        for none in ["max 100000\n", "", "0 100000", "-5 100000", "1 0", "1 x", "inf 1"] {
            assert_eq!(parse_max(none), None, "{none:?}");
        }
        assert_eq!(parse_cfs("5000\n", "100000\n"), Some(0.05));
        assert_eq!(parse_cfs("-1\n", "100000\n"), None);
    }

    /// A root with the files that Linux shows to a process.
    fn root(cgroup: &str, mountinfo: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let own = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mountinfo)];
        for (path, text) in own.iter().chain(files) {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const V2: &str =
        "24 23 0:29 / /proc rw - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n";

    #[test]
    fn v2_takes_the_smallest_of_the_group_and_its_parents() {
        let files = [
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/c/cpu.max", "200000 100000\n"),
            ("sys/fs/cgroup/x/cpu.max", "1000 100000\n"),
            ("cpu.max", "1 100000\n"),
        ];
        let quota = |group: &str| quota_below(root(&format!("0::{group}\n"), V2, &files).path());
        assert_eq!(
            (quota("/a/b/c"), quota("/a"), quota("/x"), quota("/none")),
            (Some(1.5), Some(1.5), Some(0.01), None)
        );
        assert_eq!(quota("/../../x"), None, "a group outside the namespace is not followed");
        // In a container, the group is the mount point.
        let own = root("0::/\n", V2, &[("sys/fs/cgroup/cpu.max", "5000 100000\n")]);
        assert_eq!(quota_below(own.path()), Some(0.05));
    }

    #[test]
    fn v1_quota_is_read_at_the_mount_point_of_the_cpu_controller() {
        let mounts = "30 31 0:30 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            34 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n";
        let files = [
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "25000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_below(root(groups, mounts, &files).path()), Some(0.25));
        assert_eq!(quota_below(root(groups, mounts, &[]).path()), None);
    }

    #[test]
    fn system_without_control_groups_has_no_quota() {
        assert_eq!(quota_below(tempfile::tempdir().unwrap().path()), None);
        assert_eq!(quota_below(root("", "", &[]).path()), None);
    }
}
