//! How much room a node has, from plain numbers: the same text in the plugin and in the benchmark that runs it natively.

/// What is known of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Memory of the machine, in bytes.
    pub(crate) memory: u64,
    /// Memory that no app was promised, in bytes.
    pub(crate) memory_free: u64,
    /// What is free in its pool, in bytes.
    pub(crate) pool_free: u64,
    /// How many apps it holds.
    pub(crate) apps: u64,
}

/// Half for few neighbours, half for memory that is left; `None` where the pool is too small.
pub(crate) fn score(room: Room, memory: u64, size: u64) -> Option<u32> {
    if room.pool_free < size {
        return None;
    }
    let few = 10_000 / room.apps.saturating_add(1);
    let left = room.memory_free.saturating_sub(memory).min(room.memory);
    // In MiB, so that 64 bits are enough for any machine.
    let left = (left >> 20) * 10_000 / (room.memory >> 20).max(1);
    u32::try_from((few + left) / 2).ok()
}
