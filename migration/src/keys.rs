//! Foreign keys of the first tables.

use sea_orm_migration::prelude::*;

/// Returns a foreign key to the id of `parent`, whose rows take their children with them.
pub(crate) fn cascade(
    name: &str,
    table: &'static str,
    column: &'static str,
    parent: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(name)
        .from(table, column)
        .to(parent, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}
