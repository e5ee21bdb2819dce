//! How leftovers are written down. What names one is the thing itself, so that it is written down once however often.

use flocker_model::{Epoch, Left, Leftover};
use serde::{Deserialize, Serialize};

use super::{Bytes, Record, RecordError, name, read, write};

record!(Leftover, StoredLeftover, "leftover/", |leftover| match &leftover.what {
    Left::App { name, .. } => format!("{}/app/{name}", leftover.node),
    Left::Volume { id, .. } => format!("{}/volume/{id}", leftover.node),
    Left::Replica { id, .. } => format!("{}/replica/{id}", leftover.node),
});

#[derive(Serialize, Deserialize)]
struct StoredLeftover {
    node: String,
    what: StoredLeft,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredLeft {
    App { name: String, epoch: u64 },
    Volume { id: String, name: String, epoch: u64 },
    Replica { id: String, name: String, epoch: u64 },
}

impl From<&Leftover> for StoredLeftover {
    fn from(l: &Leftover) -> Self {
        let what = match &l.what {
            Left::App { name, epoch } => StoredLeft::App { name: name.to_string(), epoch: epoch.0 },
            Left::Volume { id, name, epoch } => {
                StoredLeft::Volume { id: id.to_string(), name: name.to_string(), epoch: epoch.0 }
            }
            Left::Replica { id, name, epoch } => {
                StoredLeft::Replica { id: id.to_string(), name: name.to_string(), epoch: epoch.0 }
            }
        };
        Self { node: l.node.to_string(), what }
    }
}

impl StoredLeftover {
    fn into_model(self) -> Result<Leftover, String> {
        let what = match self.what {
            StoredLeft::App { name: app, epoch } => {
                Left::App { name: name(app)?, epoch: Epoch(epoch) }
            }
            StoredLeft::Volume { id, name: volume, epoch } => {
                Left::Volume { id: name(id)?, name: name(volume)?, epoch: Epoch(epoch) }
            }
            StoredLeft::Replica { id, name: volume, epoch } => {
                Left::Replica { id: name(id)?, name: name(volume)?, epoch: Epoch(epoch) }
            }
        };
        Ok(Leftover { node: name(self.node)?, what })
    }
}
