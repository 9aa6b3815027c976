//! Members of organizations: `/api/organizations/{id}/members`.

use crate::{
    access::allowed,
    extract::{ClientInfo, Json, PageIn, Path, Paths, Query, SignedIn, ValidJson, next_token},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{extract::State, http::StatusCode};
use bifrost_domain::{
    ids::{OrganizationId, UserId},
    policy::actions::{ReadMembers, WriteMembers},
    rights::{MembershipRole, MembershipSource},
};
use bifrost_storage::memberships::Member;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const TAG: &str = "organizations";
const DEFAULT_LIMIT: u32 = 100;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ReadMembers>(routes!(list_members)))
        .routes(allowed::<WriteMembers>(routes!(put_member)))
        .routes(allowed::<WriteMembers>(routes!(remove_member)))
}

/// What a member is to be.
#[derive(Deserialize, ToSchema)]
#[schema(as = MemberIn)]
struct MemberIn {
    /// `limited`, `member`, `admin` or `owner`; none above the caller's own.
    #[schema(value_type = String, example = "member")]
    role: MembershipRole,
    /// What is worth knowing of the member, at most 16 KiB; stays when it is not given.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Map<String, Value>>,
}

/// A membership.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberOut {
    #[schema(value_type = Uuid)]
    user_id: UserId,
    email: String,
    name: Option<String>,
    /// Whether the user may sign in.
    is_active: bool,
    #[schema(value_type = Uuid)]
    organization_id: OrganizationId,
    /// `limited`, `member`, `admin` or `owner`.
    #[schema(value_type = String, example = "member")]
    role: MembershipRole,
    /// `direct`, `inherited` (from the group `via`) or `provider` (an identity provider says so).
    #[schema(value_type = String, example = "direct")]
    source: MembershipSource,
    /// The organization that it comes from: the same one unless it is inherited.
    #[schema(value_type = Uuid)]
    via: OrganizationId,
    #[schema(value_type = Object)]
    attributes: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Member> for MemberOut {
    fn from(member: Member) -> Self {
        let membership = member.membership;
        Self {
            user_id: membership.user_id,
            email: member.email,
            name: member.name,
            is_active: member.is_active,
            organization_id: membership.organization_id,
            role: membership.role,
            source: membership.source,
            via: membership.via,
            attributes: membership.attributes,
            created_at: membership.created_at,
            updated_at: membership.updated_at,
        }
    }
}

/// A page of members.
#[derive(Serialize, ToSchema)]
#[schema(as = Members)]
struct MembersOut {
    /// Somebody who is a member for several reasons comes several times.
    members: Vec<MemberOut>,
    /// For the next page; none on the last one.
    continuation_token: Option<String>,
}

/// List the members of an organization
///
/// By user; `limit` counts people.
#[utoipa::path(
    get, path = "/api/organizations/{id}/members", tag = TAG, params(("id" = Uuid, Path), PageIn),
    responses(
        (status = 200, body = MembersOut),
        (status = 403, description = "may not see members", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn list_members(
    State(state): State<ApiState>,
    me: SignedIn,
    Path(id): Path<OrganizationId>,
    Query(page): Query<PageIn>,
) -> Result<Json<MembersOut>> {
    let (limit, after) = page.resolve(DEFAULT_LIMIT)?;
    let after = after.map(UserId::from_uuid);
    let (found, more) = state.members.list(&me.permit()?, id, after, limit).await?;
    let next = next_token(&found, more, |last| last.membership.user_id.as_uuid());
    let members = found.into_iter().map(MemberOut::from).collect();
    Ok(Json(MembersOut { members, continuation_token: next }))
}

/// Make or change a member
///
/// Somebody of an organization that the caller looks after. What is inherited from a group is changed in the group.
#[utoipa::path(
    put, path = "/api/organizations/{id}/members/{user_id}", tag = TAG,
    params(("id" = Uuid, Path), ("user_id" = Uuid, Path)), request_body = MemberIn,
    responses(
        (status = 200, body = MemberOut),
        (status = 403, description = "the former or the new rank is above the caller's", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization or user", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "the membership is inherited, or it is the last owner", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn put_member(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Paths(id, user): Paths<OrganizationId, UserId>,
    ValidJson(input): ValidJson<MemberIn>,
) -> Result<Json<MemberOut>> {
    let attributes = input.attributes.map(Value::Object);
    Ok(Json(state.members.put(&me.permit()?, id, user, input.role, attributes, &client).await?.into()))
}

/// End a membership
///
/// With the roles of that organization.
#[utoipa::path(
    delete, path = "/api/organizations/{id}/members/{user_id}", tag = TAG,
    params(("id" = Uuid, Path), ("user_id" = Uuid, Path)),
    responses(
        (status = 204),
        (status = 403, description = "the rank is above the caller's", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "no such organization or member", body = ProblemOut, content_type = "application/problem+json"),
        (status = 409, description = "inherited, the home, or the last owner", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn remove_member(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Paths(id, user): Paths<OrganizationId, UserId>,
) -> Result<StatusCode> {
    state.members.remove(&me.permit()?, id, user, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
