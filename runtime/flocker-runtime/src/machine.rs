//! Memory, CPUs and load of this machine, from `/proc`.

use std::fs;

use flocker_engine::agent::Machine;
use flocker_model::{ByteSize, Capacity, CpuMillis, NodeStats};

/// This machine.
#[derive(Debug)]
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn stats(&self) -> NodeStats {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        NodeStats {
            memory: Capacity {
                total: kib(&meminfo, "MemTotal:"),
                free: kib(&meminfo, "MemAvailable:"),
            },
            cpu: CpuMillis(u32::try_from(cpus * 1000).unwrap_or(u32::MAX)),
            load_millis: load(&loadavg),
            ..NodeStats::default()
        }
    }
}

/// A line such as `MemTotal:       24559424 kB`.
fn kib(meminfo: &str, name: &str) -> ByteSize {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    ByteSize(number.unwrap_or(0) * 1024)
}

/// The first figure of a line such as `0.42 0.60 0.71 1/223 4711`, in thousandths.
fn load(loadavg: &str) -> u32 {
    let Some((whole, part)) = loadavg.split(' ').next().and_then(|figure| figure.split_once('.'))
    else {
        return 0;
    };
    let hundredths: u32 = part.parse().unwrap_or(0);
    whole.parse::<u32>().unwrap_or(0) * 1000 + hundredths * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_it_is_written() {
        assert_eq!(
            kib("MemTotal:       24559424 kB\nMemFree: 1 kB\n", "MemTotal:"),
            ByteSize(24_559_424 << 10)
        );
        assert_eq!(load("12.42 0.60 0.71 1/223 4711\n"), 12_420);
        let stats = ThisMachine.stats();
        assert!(stats.memory.total > stats.memory.free && stats.cpu.0 >= 1000);
    }
}
