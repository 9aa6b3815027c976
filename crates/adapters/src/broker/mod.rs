//! Adapters of the broker port: [`InProcess`] for one process, [`RabbitMq`] for several.

mod in_process;
mod rabbitmq;

pub use in_process::InProcess;
pub use rabbitmq::{RabbitMq, examine as examine_rabbitmq};

use bifrost_domain::ports::broker::{Error, MAX_BODY, MAX_REASON};

/// Refuses a body over the limit before anything else is done with it.
fn check_body(body: &[u8]) -> Result<(), Error> {
    if body.len() > MAX_BODY {
        return Err(Error::Refused(format!("the body has {} bytes; the limit is {MAX_BODY}", body.len())));
    }
    Ok(())
}

/// Cuts a reason at its limit, between characters.
fn bound_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}
