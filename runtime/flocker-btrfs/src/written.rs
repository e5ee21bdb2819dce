//! When somebody last wrote to a subvolume, as the kernel notes it down with each change of a file.
//!
//! `btrfs` the command knows the transaction that last changed a subvolume, which says less: it is told every 30 s, and a
//! snapshot changes it too. The moment below changes with every write that reaches the disk, and with nothing else. What
//! programs write without asking for it to be durable reaches the disk after half a minute at the latest.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use flocker_model::{Timestamp, VolumeId};
use flocker_ports::BackendError;
use rustix::ioctl::{Getter, ioctl, opcode};

use crate::backend::Node;

/// `struct btrfs_ioctl_get_subvol_info_args` of `linux/btrfs.h`, of which one field is wanted.
#[repr(C)]
struct Info {
    _id: u64,
    _name: [u8; 256],
    _parent_and_folder: [u64; 2],
    _generation_and_flags: [u64; 2],
    _uuids: [[u8; 16]; 3],
    _transactions: [u64; 4],
    changed: Moment,
    _other_moments: [Moment; 3],
    _reserved: [u64; 8],
}

/// `struct btrfs_ioctl_timespec`.
#[repr(C)]
struct Moment {
    seconds: u64,
    nanoseconds: u32,
}

/// The size is a part of the call's number: what does not fit is refused by the kernel.
type GetInfo = Getter<{ opcode::read::<Info>(0x94, 60) }, Info>;

/// When a file of the subvolume was last changed.
fn changed(subvolume: &Path) -> io::Result<Timestamp> {
    let folder = File::open(subvolume)?;
    #[expect(
        unsafe_code,
        reason = "no library that needs no C compiler's parser wraps this call; it fills in the struct that its number names, \
                  which is plain numbers, and nothing else"
    )]
    let info = unsafe { ioctl(&folder, GetInfo::new()) }?;
    let Moment { seconds, nanoseconds } = info.changed;
    Ok(Timestamp(seconds.saturating_mul(1000).saturating_add(u64::from(nanoseconds) / 1_000_000)))
}

impl Node {
    /// When somebody last wrote to each of the live subvolumes; those that are gone meanwhile are left out.
    pub(crate) async fn written(
        &self,
        volumes: &[VolumeId],
    ) -> Result<BTreeMap<VolumeId, Timestamp>, BackendError> {
        let paths: Vec<_> =
            volumes.iter().map(|volume| (volume.clone(), self.layout().live(volume))).collect();
        let action = "could not ask when volumes were written to";
        self.files(action, self.layout().root(), move |_| {
            let mut written = BTreeMap::new();
            for (volume, path) in paths {
                match changed(&path) {
                    Ok(at) => drop(written.insert(volume, at)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(written)
        })
        .await
    }
}
