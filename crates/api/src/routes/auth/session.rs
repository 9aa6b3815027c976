//! The session of who is signed in: who he is, in which organization it acts, and its end.

use super::{TAG, TokensOut, with_cookies};
use crate::{
    access::allowed,
    cookies,
    extract::{ClientInfo, Json, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bifrost_domain::{
    ids::{OrganizationId, UserId},
    policy::actions::{ReadAccount, ShowFactor, UseAccount},
    rights::MembershipRole,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadAccount>(routes!(me)))
        .routes(allowed::<ShowFactor>(routes!(logout)))
        .routes(allowed::<UseAccount>(routes!(switch_organization)))
}

/// The signed-in user.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct MeOut {
    #[schema(value_type = Uuid)]
    id: UserId,
    email: String,
    name: String,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
    /// Names of the roles.
    roles: Vec<String>,
    /// Permissions of the roles; a platform admin has all without any being listed, an owner or admin all of the organization.
    permissions: Vec<String>,
    /// The organization that calls without `X-Organization-Id` act in; none is GLOBAL.
    #[schema(value_type = Option<Uuid>)]
    current_organization_id: Option<OrganizationId>,
    /// Where the user may go.
    memberships: Vec<MembershipOut>,
}

/// A membership of the signed-in user.
#[derive(Serialize, ToSchema)]
#[schema(as = OwnMembership)]
struct MembershipOut {
    #[schema(value_type = Uuid)]
    organization_id: OrganizationId,
    /// The highest rank there: `limited`, `member`, `admin` or `owner`.
    #[schema(value_type = String, example = "member")]
    role: MembershipRole,
    /// Whether the organization is active.
    is_active: bool,
}

/// Where to go on.
#[derive(Deserialize, ToSchema)]
#[schema(as = SwitchIn)]
struct SwitchIn {
    /// An organization of the caller's; `null` is GLOBAL.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(value_type = Option<Uuid>)]
    organization_id: Option<OrganizationId>,
}

/// A sentence.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageOut {
    message: &'static str,
}

/// Who am I
#[utoipa::path(
    get, path = "/auth/me", tag = TAG,
    responses(
        (status = 200, body = MeOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn me(me: SignedIn) -> Json<MeOut> {
    let place = me.caller.scope.organization();
    let granted = me.rights.granted(&me.user, place);
    Json(MeOut {
        id: me.user.id,
        name: me.user.display_name().to_owned(),
        email: me.user.email,
        is_active: me.user.is_active,
        is_superuser: me.user.is_superuser,
        is_verified: me.user.is_verified,
        organization_id: me.user.organization_id,
        roles: granted.roles.into_iter().collect(),
        permissions: granted.permissions.into_iter().collect(),
        current_organization_id: place,
        memberships: me
            .rights
            .held
            .iter()
            .map(|(id, held)| MembershipOut {
                organization_id: *id,
                role: held.role,
                is_active: held.is_active,
            })
            .collect(),
    })
}

/// Sign out
///
/// Ends the session: its tokens hold no longer, on any replica, within a second.
#[utoipa::path(
    post, path = "/auth/logout", tag = TAG,
    responses(
        (status = 200, body = MessageOut),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn logout(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
) -> Result<Response> {
    if let Some(session) = &me.session {
        state.auth.logout(session, &client).await?;
    }
    let mut response = Json(MessageOut { message: "signed out" }).into_response();
    cookies::clear(response.headers_mut(), &state.settings);
    Ok(response)
}

/// Go on in another organization
///
/// Calls without `X-Organization-Id` act there from now on. Gives a new pair; the refresh token of before is used up. A platform admin may
/// name any organization, or `null` for GLOBAL.
#[utoipa::path(
    post, path = "/auth/switch-organization", tag = TAG, request_body = SwitchIn,
    responses(
        (status = 200, body = TokensOut),
        (status = 400, description = "no such organization (told to platform admins alone), or no session", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 403, description = "not a member of it", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn switch_organization(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<SwitchIn>,
) -> Result<Response> {
    let permit = me.permit()?;
    let pair = state.auth.switch_organization(&permit, input.organization_id, &client).await?;
    Ok(with_cookies(&state, &pair))
}
