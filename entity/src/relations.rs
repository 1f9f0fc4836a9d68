//! Relations of an entity to others, and the traits that follow from them.

/// Declares the relations of the entity in the current module.
///
/// `belongs_to NAME: TABLE by COLUMN` is a foreign key to the id of another table, and
/// `has_many NAME: TABLE` its other direction.
macro_rules! relations {
    (
        $(belongs_to $name:ident: $table:ident by $column:ident;)*
        $(has_many $many:ident: $many_table:ident;)*
    ) => {
        /// Relations to other tables.
        #[derive(Copy, Clone, Debug, EnumIter)]
        pub enum Relation {
            $($name,)*
            $($many,)*
        }

        impl RelationTrait for Relation {
            fn def(&self) -> RelationDef {
                match *self {
                    $(Self::$name => Entity::belongs_to(crate::$table::Entity)
                        .from(Column::$column)
                        .to(crate::$table::Column::Id)
                        .into(),)*
                    $(Self::$many => Entity::has_many(crate::$many_table::Entity).into(),)*
                }
            }
        }

        $(impl Related<crate::$table::Entity> for Entity {
            fn to() -> RelationDef {
                Relation::$name.def()
            }
        })*

        $(impl Related<crate::$many_table::Entity> for Entity {
            fn to() -> RelationDef {
                Relation::$many.def()
            }
        })*

        impl ActiveModelBehavior for ActiveModel {}
    };
}
