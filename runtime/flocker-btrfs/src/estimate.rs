//! How much a send would roughly take: the sizes of the extents that were written since the base.

use std::ffi::OsStr;

use flocker_model::{ByteSize, Point, Role, VolumeId};
use flocker_ports::BackendError;

use crate::{backend::Node, layout::SNAP};

/// What a stream adds to each extent: command headers, paths, times.
const PER_EXTENT: u64 = 200;

impl Node {
    /// Without a base: what the volume refers to. With one: the extents that are newer than it. What was written but
    /// not flushed yet (for at most 30 s) is missing, and so are deletions; both are small in a stream or come with the
    /// next round.
    pub(crate) async fn estimate(
        &self,
        volume: &VolumeId,
        base: Option<&Point>,
    ) -> Result<ByteSize, BackendError> {
        let (role, _) = self.need(volume).await?;
        let Some(base) = base else {
            return Ok(self.stat(volume).await?.map(|state| state.used).unwrap_or_default());
        };
        let points = self.points(volume).await?;
        let Some((_, since)) = points.iter().find(|(point, _)| point.guid == base.guid) else {
            return Err(BackendError::NoSuchSnapshot {
                volume: volume.clone(),
                tag: base.tag.clone(),
            });
        };
        let present = match role {
            Role::Live | Role::Sealed => self.layout().live(volume),
            Role::Replica => match points.last() {
                Some((newest, _)) => self.layout().snapshot(volume, &newest.tag).join(SNAP),
                None => return Ok(ByteSize(0)),
            },
        };
        // `find-new` starts with the transaction it is given, and the base's own is not new.
        let generation = (since.generation_made + 1).to_string();
        let args: [&OsStr; 4] =
            ["subvolume".as_ref(), "find-new".as_ref(), present.as_ref(), generation.as_ref()];
        let text = self.btrfs().run("could not estimate the size of a stream", &args).await?;
        Ok(ByteSize(text.lines().filter_map(extent).map(|bytes| bytes + PER_EXTENT).sum()))
    }
}

/// `inode 260 file offset 0 len 1048576 disk start 458227712 offset 0 gen 21 flags NONE data/g2`
fn extent(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    words.by_ref().find(|word| *word == "len")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_read() {
        let line = "inode 260 file offset 0 len 1048576 disk start 458227712 offset 0 gen 21 flags NONE data/len 7";
        assert_eq!(extent(line), Some(1_048_576));
        assert_eq!(extent("transid marker was 27"), None);
    }
}
