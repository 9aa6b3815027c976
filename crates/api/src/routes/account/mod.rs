//! The own account: second factor, sessions, profile.

mod avatar;
mod factor;
mod factor_manage;
pub(super) mod picture;
mod profile;
mod sessions;

pub(super) use factor_manage::{METHODS, ProofIn, is_wrong_password};

use crate::state::ApiState;
use utoipa_axum::router::OpenApiRouter;

const TAG: &str = "account";

/// The routes of this folder.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(factor::routes())
        .merge(factor_manage::routes())
        .merge(sessions::routes())
        .merge(profile::routes())
        .merge(avatar::routes())
}
