//! What every route of a kind may answer beside what it says itself, written into the document in one place.

use crate::problem::MEDIA_TYPE;
use utoipa::openapi::{
    Ref, RefOr,
    content::ContentBuilder,
    path::Operation,
    response::{Response, ResponseBuilder},
};

/// Any request.
const ANY: &[(&str, &str)] = &[
    ("414", "the address is too long"),
    ("431", "the headers are too large"),
    ("503", "something that is needed is away, or it took too long"),
];
/// One that needs somebody.
const SIGNED_IN: &[(&str, &str)] = &[
    ("400", "the header `X-Organization-Id` names no organization"),
    ("401", "not signed in"),
    ("403", "the permission is missing, or the CSRF token"),
];
/// One with parameters.
const PARAMETERS: &[(&str, &str)] =
    &[("400", "the address is not UTF-8"), ("422", "bad parameters, each named")];
/// One with a body.
const BODY: &[(&str, &str)] = &[
    ("400", "the body cannot be read"),
    ("408", "the body did not arrive in time"),
    ("413", "the body is too large"),
    ("415", "the body is of another type"),
    ("422", "bad fields, each named"),
];

/// Adds them; what the route says itself stays.
pub(crate) fn common(operation: &mut Operation, is_signed_in: bool) {
    let has_parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    let kinds = [
        (true, ANY),
        (is_signed_in, SIGNED_IN),
        (has_parameters, PARAMETERS),
        (operation.request_body.is_some(), BODY),
    ];
    for (_, kind) in kinds.into_iter().filter(|(fits, _)| *fits) {
        add(operation, kind);
    }
}

/// Adds these; what stands there stays.
pub(crate) fn add(operation: &mut Operation, kind: &[(&str, &str)]) {
    for (status, description) in kind {
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build()
}
