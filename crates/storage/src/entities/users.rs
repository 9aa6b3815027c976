//! Table `users`.

use sea_orm::entity::prelude::*;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub email: String,
    pub name: Option<String>,
    pub password_hash: Option<String>,
    pub user_type: String,
    pub organization_id: Option<Uuid>,
    pub is_active: bool,
    pub is_superuser: bool,
    pub is_verified: bool,
    pub is_registered: bool,
    pub mfa_enabled: bool,
    pub epoch: i64,
    pub last_login: Option<ChronoDateTimeUtc>,
    pub purge_at: Option<ChronoDateTimeUtc>,
    pub created_at: ChronoDateTimeUtc,
    pub updated_at: ChronoDateTimeUtc,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
