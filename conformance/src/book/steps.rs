//! The page of the steps that a test consists of: one table for each suite.

use crate::{device_model, vfio, vhost_user};

/// The page's body.
pub(super) fn body() -> String {
    [
        ("vhost-user", vhost_user::script::Act::TABLE),
        ("VFIO", vfio::script::Act::TABLE),
        ("Device models", device_model::script::Step::TABLE),
    ]
    .map(|(suite, table)| section(suite, table))
    .concat()
        + "`run NAME` takes the steps of a `[[program]]` of the same file. In the suite of vhost-user, every \
           step of a front-end's program is a step of a test too, after `each ring` or `ring N` if it is \
           not for the ring that carries requests.\n"
}

fn section(suite: &str, table: &[(&str, &str)]) -> String {
    let rows = table.iter().map(|(form, about)| format!("| `{form}` | {about} |\n"));
    format!("## {suite}\n\n| step | meaning |\n|---|---|\n{}\n", rows.collect::<String>())
}
