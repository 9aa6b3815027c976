//! The own second factor: what there is, recovery codes, trusted devices, removing it.

use super::TAG;
use crate::{
    access::allowed,
    extract::{ClientInfo, Json, OptionalJson, Path, SignedIn, ValidJson},
    problem::{ProblemOut, Result},
    state::ApiState,
};
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bifrost_app::auth::mfa::Proof;
use bifrost_domain::{
    error::{Error, Kind},
    ids::TrustedDeviceId,
    policy::actions::{ShowFactor, UseAccount},
};
use bifrost_storage::trusted_devices::TrustedDevice;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How a code can be shown, where a factor is set up.
pub(in crate::routes) const METHODS: &[&str] = &["totp", "recovery_code"];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(allowed::<ShowFactor>(routes!(status)))
        .routes(allowed::<ShowFactor>(routes!(prove)))
        .routes(allowed::<UseAccount>(routes!(remove)))
        .routes(allowed::<UseAccount>(routes!(regenerate)))
        .routes(allowed::<UseAccount>(routes!(count)))
        .routes(allowed::<UseAccount>(routes!(devices)))
        .routes(allowed::<UseAccount>(routes!(forget_devices)))
        .routes(allowed::<UseAccount>(routes!(forget_device)))
}

/// What there is of the own second factor.
#[derive(Serialize, ToSchema)]
#[schema(as = MfaStatus)]
struct StatusOut {
    /// Whether codes are asked for.
    mfa_enabled: bool,
    /// Whether the platform or an organization asks for a second factor.
    mfa_required: bool,
    #[schema(value_type = Vec<String>)]
    available_methods: &'static [&'static str],
    recovery_codes_remaining: i64,
}

/// What shows that it is really the person: the current password, or a code.
#[derive(Deserialize, ToSchema)]
#[schema(as = MfaProofIn)]
pub(in crate::routes) struct ProofIn {
    #[serde(alias = "current_password")]
    #[schema(format = Password)]
    password: Option<String>,
    /// A code of the authenticator, or a recovery code.
    #[serde(alias = "mfa_code")]
    #[schema(example = "123456", max_length = 64)]
    code: Option<String>,
}

/// A code of the authenticator, or a recovery code.
#[derive(Deserialize, ToSchema)]
#[schema(as = MfaProveIn)]
struct ProveIn {
    #[schema(example = "123456", max_length = 64)]
    code: String,
}

/// A sentence, and that it was done.
#[derive(Serialize, ToSchema)]
#[schema(as = MfaRemoved)]
struct RemovedOut {
    success: bool,
    message: &'static str,
}

/// New recovery codes, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
struct CodesOut {
    recovery_codes: Vec<String>,
    count: usize,
}

/// How many recovery codes there are.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodeCount)]
struct CountOut {
    /// Not used yet …
    remaining: i64,
    /// … of so many.
    total: i64,
}

/// A browser that needs no code.
#[derive(Serialize, ToSchema)]
#[schema(as = TrustedDevice)]
struct DeviceOut {
    #[schema(value_type = Uuid)]
    id: TrustedDeviceId,
    user_agent: Option<String>,
    ip_address: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl From<TrustedDevice> for DeviceOut {
    fn from(device: TrustedDevice) -> Self {
        Self {
            id: device.id,
            user_agent: device.user_agent,
            ip_address: device.ip_address,
            created_at: device.created_at,
            last_used_at: device.last_used_at,
            expires_at: device.expires_at,
        }
    }
}

/// Browsers that need no code; at most 20.
#[derive(Serialize, ToSchema)]
#[schema(as = TrustedDevices)]
struct DevicesOut {
    devices: Vec<DeviceOut>,
}

/// What was forgotten.
#[derive(Serialize, ToSchema)]
#[schema(as = ForgottenDevices)]
struct ForgottenOut {
    message: &'static str,
    devices_removed: u64,
}

/// Codes have limits of their own.
pub(in crate::routes) fn is_wrong_password(error: &Error) -> bool {
    error.kind == Kind::BadRequest && error.code == Some("password_wrong")
}

impl ProofIn {
    /// What is shown, if anything is.
    pub(in crate::routes) fn shown(self) -> Option<Proof> {
        let by_code = self.code.map(Proof::Code);
        by_code.or_else(|| self.password.map(|password| Proof::Password(password.into())))
    }
}

fn proof(input: Option<ProofIn>) -> Result<Proof> {
    let shown = input.and_then(ProofIn::shown);
    shown.ok_or_else(|| Error::invalid("code", "required", "is required, or `password`").into())
}

/// See the own second factor
#[utoipa::path(get, path = "/auth/mfa/status", tag = TAG, operation_id = "mfa_status", responses(
    (status = 200, body = StatusOut),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn status(State(state): State<ApiState>, me: SignedIn) -> Result<Json<StatusOut>> {
    let status = state.mfa.status(&me.permit()?, &me.rights).await?;
    Ok(Json(StatusOut {
        mfa_enabled: status.is_enrolled,
        mfa_required: status.is_required,
        available_methods: if status.is_enrolled { METHODS } else { &[] },
        recovery_codes_remaining: status.recovery_codes_left,
    }))
}

/// Show a code for the own session
///
/// For a session that began without a second factor where one is required now: other calls answer 403 `mfa_required` until a code was
/// shown. Who has no second factor sets one up instead (`POST /auth/mfa/setup`).
#[utoipa::path(
    post, path = "/auth/mfa/prove", tag = TAG, operation_id = "mfa_prove", request_body = ProveIn,
    responses(
        (status = 204, description = "the session is one with a second factor"),
        (status = 400, description = "the code is not right, there is no second factor, or no session", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn prove(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    ValidJson(input): ValidJson<ProveIn>,
) -> Result<StatusCode> {
    state.count(&state.limits.mfa, &client).await?;
    state.mfa.prove(&me.permit()?, &me.user, &input.code, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove the own second factor
///
/// Recovery codes and trusted devices go with it. Where a second factor is required, the next sign-in asks for a new one.
#[utoipa::path(
    delete, path = "/auth/mfa", tag = TAG, operation_id = "mfa_remove",
    request_body(content = ProofIn, content_type = "application/json"),
    responses(
        (status = 200, body = RemovedOut),
        (status = 400, description = "the password or code is not right, or there is no second factor", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    OptionalJson(input): OptionalJson<ProofIn>,
) -> Result<Json<RemovedOut>> {
    state.count(&state.limits.mfa, &client).await?;
    let (permit, proof) = (me.permit::<UseAccount>()?, proof(input)?);
    let removing = state.mfa.remove(&permit, &me.user, proof, &client);
    state.failing(&me.user, &client, removing, is_wrong_password).await?;
    Ok(Json(RemovedOut { success: true, message: "the second factor was removed" }))
}

/// Make new recovery codes
///
/// The old ones are no good any more.
#[utoipa::path(
    post, path = "/auth/mfa/recovery-codes/regenerate", tag = TAG, operation_id = "renew_recovery_codes",
    request_body(content = ProofIn, content_type = "application/json"),
    responses(
        (status = 200, body = CodesOut),
        (status = 400, description = "the password or code is not right, or there is no second factor", body = ProblemOut, content_type = "application/problem+json"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "bad fields", body = ProblemOut, content_type = "application/problem+json"),
        (status = 429, description = "too many attempts", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn regenerate(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    OptionalJson(input): OptionalJson<ProofIn>,
) -> Result<Response> {
    state.count(&state.limits.mfa, &client).await?;
    let (permit, proof) = (me.permit::<UseAccount>()?, proof(input)?);
    let renewing = state.mfa.renew_recovery_codes(&permit, &me.user, proof, &client);
    let recovery_codes = state.failing(&me.user, &client, renewing, is_wrong_password).await?;
    let mut response = Json(CodesOut { count: recovery_codes.len(), recovery_codes }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Count recovery codes
#[utoipa::path(get, path = "/auth/mfa/recovery-codes/count", tag = TAG, operation_id = "count_recovery_codes", responses(
    (status = 200, body = CountOut),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn count(State(state): State<ApiState>, me: SignedIn) -> Result<Json<CountOut>> {
    let status = state.mfa.status(&me.permit()?, &me.rights).await?;
    Ok(Json(CountOut { remaining: status.recovery_codes_left, total: status.recovery_codes }))
}

/// List trusted devices
#[utoipa::path(get, path = "/auth/mfa/trusted-devices", tag = TAG, operation_id = "list_trusted_devices", responses(
    (status = 200, body = DevicesOut),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn devices(State(state): State<ApiState>, me: SignedIn) -> Result<Json<DevicesOut>> {
    let devices = state.mfa.list_devices(&me.permit::<UseAccount>()?).await?;
    Ok(Json(DevicesOut { devices: devices.into_iter().map(DeviceOut::from).collect() }))
}

/// Trust no device
#[utoipa::path(delete, path = "/auth/mfa/trusted-devices", tag = TAG, operation_id = "forget_trusted_devices", responses(
    (status = 200, body = ForgottenOut),
    (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
))]
async fn forget_devices(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
) -> Result<Json<ForgottenOut>> {
    let permit = me.permit::<UseAccount>()?;
    let devices_removed = state.mfa.forget_devices(&permit, &me.user, None, &client).await?;
    Ok(Json(ForgottenOut { message: "no device is trusted any more", devices_removed }))
}

/// Trust a device no longer
#[utoipa::path(
    delete, path = "/auth/mfa/trusted-devices/{id}", tag = TAG, operation_id = "forget_trusted_device", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "its next sign-in asks for a code"),
        (status = 401, description = "not signed in", body = ProblemOut, content_type = "application/problem+json"),
        (status = 404, description = "there is none of this id among the own ones", body = ProblemOut, content_type = "application/problem+json"),
        (status = 422, description = "no id", body = ProblemOut, content_type = "application/problem+json"),
    )
)]
async fn forget_device(
    State(state): State<ApiState>,
    ClientInfo(client): ClientInfo,
    me: SignedIn,
    Path(id): Path<TrustedDeviceId>,
) -> Result<StatusCode> {
    state.mfa.forget_devices(&me.permit::<UseAccount>()?, &me.user, Some(id), &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
