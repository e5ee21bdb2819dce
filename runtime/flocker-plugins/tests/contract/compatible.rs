//! Whether a plugin that was built for one state of the contract runs on a host of another.

use std::{collections::BTreeSet, path::Path};

use wit_component::{WitPrinter, semver_check};
use wit_parser::{InterfaceId, PackageId, Resolve, WorldId, WorldItem};

/// What would break a plugin of the older one, in words.
pub(crate) fn check(older: &Path, newer: &Path) -> Result<(), String> {
    let (old, new) = (Contract::read(older)?, Contract::read(newer)?);
    let (theirs, ours) = (old.version()?, new.version()?);
    if theirs == ours {
        let same = old.text()? == new.text()?;
        return same.then_some(()).ok_or(format!("both are {ours}, but they differ"));
    }
    if theirs > ours {
        return Err(format!("{ours} is older than {theirs}"));
    }
    // Another minor version is another contract: hosts keep both, and the corpus shows that they do.
    if (theirs.major, theirs.minor) != (ours.major, ours.minor) {
        return Ok(());
    }
    let mut both = old.resolve;
    let (new, _) = both.push_dir(newer).map_err(|e| format!("{e:#}"))?;
    for (name, old) in both.packages[old.package].worlds.clone() {
        let new = both.packages[new].worlds.get(&name).copied();
        let new = new.ok_or(format!("there is no world `{name}` any more"))?;
        exports_are_frozen(&both, old, new).map_err(|why| format!("world `{name}`: {why}"))?;
        semver_check(both.clone(), old, new).map_err(|e| format!("world `{name}`: {e:#}"))?;
    }
    Ok(())
}

/// A host may stop asking for a function without breaking anybody, and would have forgotten a promise: what plugins
/// export stays as it was. That the functions have the same types is `semver_check`'s business.
fn exports_are_frozen(resolve: &Resolve, old: WorldId, new: WorldId) -> Result<(), String> {
    let (old, new) = (exports(resolve, old), exports(resolve, new));
    for (name, old) in old {
        let found = new.iter().find(|(other, _)| *other == name);
        let (_, new) = found.ok_or(format!("`{name}` is not exported any more"))?;
        if functions(resolve, old) != functions(resolve, *new) {
            return Err(format!("the functions of `{name}` changed, which plugins export"));
        }
    }
    Ok(())
}

fn exports(resolve: &Resolve, world: WorldId) -> Vec<(String, InterfaceId)> {
    let items = resolve.worlds[world].exports.values();
    let interfaces = items.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        WorldItem::Function(_) | WorldItem::Type { .. } => None,
    });
    interfaces.filter_map(|id| Some((resolve.interfaces[id].name.clone()?, id))).collect()
}

fn functions(resolve: &Resolve, interface: InterfaceId) -> BTreeSet<&str> {
    resolve.interfaces[interface].functions.keys().map(String::as_str).collect()
}

/// A folder of WIT files.
struct Contract {
    resolve: Resolve,
    package: PackageId,
}

impl Contract {
    fn read(folder: &Path) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(folder).map_err(|e| format!("{e:#}"))?;
        Ok(Self { resolve, package })
    }

    fn version(&self) -> Result<semver::Version, String> {
        self.resolve.packages[self.package].name.version.clone().ok_or("no version".to_owned())
    }

    /// All that is promised, without the words about it: those may become clearer.
    fn text(&self) -> Result<String, String> {
        let mut printer = WitPrinter::default();
        let printed = printer.emit_docs(false).print(&self.resolve, self.package, &[]);
        printed.map_err(|e| format!("{e:#}"))?;
        Ok(printer.output.to_string())
    }
}
