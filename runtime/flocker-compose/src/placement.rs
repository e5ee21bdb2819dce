//! `x-flocker` at the top of the file: where the app may run.

use flocker_model::PlacementRules;

use crate::{
    reader::{Field, Problems},
    values,
};

pub(crate) fn read(field: &Field<'_>, problems: &mut Problems) -> PlacementRules {
    let mut fields = field.map(problems);
    let rules = fields.take("placement").map(|f| rules(&f, problems)).unwrap_or_default();
    fields.refuse_rest(problems, |_| {
        Some("`placement` is known here; `size` and `owner` belong to a volume")
    });
    rules
}

fn rules(field: &Field<'_>, problems: &mut Problems) -> PlacementRules {
    let mut fields = field.map(problems);
    let nodes = fields.take("nodes").map(|f| f.list(problems)).unwrap_or_default();
    let nodes = nodes.into_iter().filter_map(|f| f.parse(problems)).collect();
    let labels = fields.take("labels");
    let labels = labels
        .map(|f| values::key_values(&f, problems, |_, _| Ok(String::new())))
        .unwrap_or_default();
    let pinned =
        fields.take("pinned").and_then(|f| f.read(problems, values::truth)).unwrap_or(false);
    fields.refuse_rest(problems, |_| Some("`nodes`, `labels` and `pinned` are known here"));
    PlacementRules { nodes, labels, pinned }
}
