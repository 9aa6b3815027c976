//! The OpenAPI document at `/openapi.json` and Swagger UI at `/docs`, from files in the binary: nothing is loaded from elsewhere.

use crate::state::ApiState;
use axum::{Router, response::Redirect, routing::get};
use utoipa::openapi::{
    Components, Info, License, OpenApi, OpenApiBuilder,
    security::{
        ApiKey, ApiKeyValue, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes,
        SecurityRequirement, SecurityScheme,
    },
    tag::TagBuilder,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The document without its paths.
pub(crate) fn base() -> OpenApi {
    let mut components = Components::new();
    // Swagger UI shows a sign-in form for this one and sends the token with every call.
    components.add_security_scheme(
        "password",
        SecurityScheme::OAuth2(OAuth2::with_description(
            [Flow::Password(Password::new("/auth/login", Scopes::new()))],
            "sign in with address and password",
        )),
    );
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build()),
    );
    components.add_security_scheme(
        "cookie",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "access_token",
            "set by the sign-in; unsafe methods also need the cookie `csrf_token` in the header `X-CSRF-Token`",
        ))),
    );
    let mut info = Info::new("Bifrost", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Runs Python functions as multi-tenant, audited automation.\n\nErrors are `application/problem+json` \
         (RFC 9457); `X-Organization-Id` chooses the organization a platform admin acts in."
            .to_owned(),
    );
    info.license = Some(License::new("Apache-2.0"));
    let tags = [
        ("account", "sign-in, second factor, sessions, registration, profile"),
        ("branding", "name, colour and logos of the platform"),
        ("organizations", "the provider's customers"),
        ("machines", "programs that call with a key"),
        ("audit", "who did what"),
        ("workflows", "what can be run"),
        ("executions", "runs: their state, result, log"),
        ("live", "logs and state as they happen"),
        ("health", "how the program is"),
    ];
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .tags(Some(tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build())))
        .security(Some([
            SecurityRequirement::new("password", [] as [&str; 0]),
            SecurityRequirement::new("bearer", [] as [&str; 0]),
            SecurityRequirement::new("cookie", [] as [&str; 0]),
        ]))
        .build()
}

/// The pages about the document. They are no part of it.
pub(crate) fn pages(document: OpenApi) -> Router<ApiState> {
    let config = Config::from("/openapi.json")
        .persist_authorization(true)
        .try_it_out_enabled(true)
        .display_request_duration(true)
        // The default asks a server on the internet about the document.
        .validator_url("none");
    Router::new()
        .route("/", get(|| async { Redirect::to("/docs/") }))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document).config(config))
}
