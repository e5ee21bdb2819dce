//! The keys of encrypted volumes: one file each on every node, by the name of the secret. The kernel knows a key from
//! when the volume is writable here until it is a replica.
//!
//! A file holds 64 hexadecimal digits, so that without us too `zfs load-key -L file:///FOLDER/NAME` opens a volume.

use flocker_model::{SecretName, VolumeId};
use flocker_ports::BackendError;
use flocker_system::secrets::read;
use flocker_zfs_wire::{Call, Failure, Key};
use rustix::io::Errno;

use crate::{backend::Node, command::run, helper::CallError, state::State};

impl Node {
    /// The key of a secret, as this node has it.
    pub(crate) async fn key(
        &self,
        volume: &VolumeId,
        secret: &SecretName,
    ) -> Result<Key, BackendError> {
        let path = self.secrets.join(secret.as_str());
        let action = format!("could not read the key of volume `{volume}`");
        let content = self.files(&action, &path, read).await?;
        parse(&content).ok_or_else(|| BackendError::Failed {
            action,
            reason: format!(
                "`{}` does not hold 64 hexadecimal digits\nhint: a new key is made with `openssl rand -hex 32`",
                path.display()
            ),
        })
    }

    /// Gives the kernel the volume's key, where it needs one and has it not.
    pub(crate) async fn unlock(
        &self,
        volume: &VolumeId,
        state: &State,
    ) -> Result<(), BackendError> {
        match &state.secret {
            Some(secret) if !state.unlocked => self.load(volume, secret, false).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Proves that this node could open the volume.
    pub(crate) async fn check_key_of(
        &self,
        volume: &VolumeId,
        state: &State,
    ) -> Result<(), BackendError> {
        match &state.secret {
            Some(secret) => self.load(volume, secret, true).await,
            None => Ok(()),
        }
    }

    async fn load(
        &self,
        volume: &VolumeId,
        secret: &SecretName,
        trial: bool,
    ) -> Result<(), BackendError> {
        let key = self.key(volume, secret).await?;
        let about = self.about("could not open the encryption of", volume);
        let call = |name| Call::LoadKey { name, key: key.clone(), trial };
        let mut loaded = self.helper.call(call(self.dataset(volume))).await;
        if matches!(&loaded, Err(CallError::Refused(failure)) if is(failure.errno, Errno::INVAL)) {
            // A clone is opened by the key of what it was made from.
            loaded = self.helper.call(call(self.key_holder(volume).await?)).await;
        }
        match loaded {
            Ok(_) => Ok(()),
            // The kernel has it already.
            Err(CallError::Refused(Failure { errno, .. })) if is(errno, Errno::EXIST) => Ok(()),
            Err(CallError::Refused(Failure { errno, .. })) if is(errno, Errno::ACCESS) => {
                Err(about.failed(format!(
                    "the secret `{secret}` of this node is not its key\nhint: put the key of the node that made the volume \
                     into `{}`",
                    self.secrets.join(secret.as_str()).display()
                )))
            }
            Err(error) => Err(about.explain(error)),
        }
    }

    /// The dataset whose key opens the volume; programs in the pool cannot ask.
    async fn key_holder(&self, volume: &VolumeId) -> Result<String, BackendError> {
        let asked = ["get", "-Hpo", "value", "encryptionroot", &self.dataset(volume)];
        let holder = run(&self.zfs, &asked).await;
        let about = self.about("could not open the encryption of", volume);
        Ok(holder.map_err(|reason| about.failed(reason))?.trim().to_owned())
    }

    /// Lets the kernel forget the key of a volume that nobody here may read any more. It is of no harm if it cannot.
    pub(crate) async fn lock(&self, volume: &VolumeId, state: &State) {
        if state.secret.is_none() || !state.unlocked {
            return;
        }
        let unloaded = self.helper.call(Call::UnloadKey { name: self.dataset(volume) }).await;
        // A clone has none of its own.
        let has_one = |failure: &Failure| !is(failure.errno, Errno::INVAL);
        if let Err(error) = unloaded
            && !matches!(&error, CallError::Refused(failure) if !has_one(failure))
        {
            let error = self.about("could not unload the key of", volume).explain(error);
            tracing::warn!("{error}");
        }
    }
}

fn is(errno: i32, expected: Errno) -> bool {
    errno == expected.raw_os_error()
}

fn parse(text: &[u8]) -> Option<Key> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut key = [0; 32];
    if text.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_digits() {
        let digits = "00ff".repeat(16);
        assert_eq!(parse(digits.as_bytes()), Some(Key([0, 255].repeat(16).try_into().unwrap())));
        for bad in [&digits[1..], &format!("{digits}0"), "", &"0g".repeat(32)] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_shown_to_nobody() {
        let key = Key([7; 32]);
        let call = Call::LoadKey { name: "tank/a".to_owned(), key, trial: false };

        assert!(!format!("{call:?}").contains('7'));
    }
}
