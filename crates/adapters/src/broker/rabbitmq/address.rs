//! Where RabbitMQ is, and what to do when it says no.

use crate::trouble::{Trouble, one_line};
use bifrost_domain::ports::broker::Error;
use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    uri::AMQPUri,
};

/// Seconds between heartbeats: a peer that vanished without a word is noticed within two of them.
const HEARTBEAT: u16 = 10;
/// Largest frame, in bytes. lapin keeps 32 frames of buffer for each direction: 2 MiB a connection instead of 8.
const FRAME: u32 = 32 * 1024;
/// Milliseconds for the TCP connection.
const TCP_TIMEOUT: u64 = 5_000;

/// The parsed URL. Prints without user name and password.
pub(super) struct Address(AMQPUri);

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        // The parser's message may quote the URL: it is not passed on.
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            Error::Refused(
                "RABBITMQ_URL is not an AMQP URL: expected amqp://user:password@host:port/vhost".to_owned(),
            )
        })?;
        if uri.vhost.is_empty() {
            // By the letter of the URI rules `amqp://host/` is the vhost "", which nobody has; everybody means `/`.
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        uri.query.frame_max.get_or_insert(FRAME);
        uri.query.connection_timeout.get_or_insert(TCP_TIMEOUT);
        Ok(Self(uri))
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }

    /// Why it cannot be used, and what to do.
    pub(super) fn explain(&self, error: &lapin::Error) -> Trouble {
        let user = &self.0.authority.userinfo.username;
        let vhost = &self.0.vhost;
        match error.kind() {
            ErrorKind::IOError(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
                Trouble::away(format!("nothing listens at {self}: start RabbitMQ or correct RABBITMQ_URL"))
            }
            ErrorKind::ProtocolError(amqp) => {
                let said = one_line(amqp.get_message().as_str());
                match amqp.kind() {
                    // A soft error here answers a command on a channel, a refused log-in included.
                    AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
                        if said.contains("Login was refused") =>
                    {
                        Trouble::misconfigured(
                            format!(
                                "rabbitmq at {self} refuses the password of user `{user}`: correct RABBITMQ_URL"
                            ),
                            "rabbitmq refuses the user name or password: correct RABBITMQ_URL",
                        )
                    }
                    AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Trouble::misconfigured(
                        format!(
                            "rabbitmq at {self} lacks permissions for user `{user}` ({said}): grant them with \
                             `rabbitmqctl set_permissions -p {vhost} {user} \".*\" \".*\" \".*\"`"
                        ),
                        "rabbitmq does not give the user its permissions: grant them with `rabbitmqctl set_permissions`",
                    ),
                    AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Trouble::misconfigured(
                        format!(
                            "a queue or exchange of that name was declared differently ({said}): delete it in the \
                             management UI or with `rabbitmqctl delete_queue`, or choose another prefix"
                        ),
                        "rabbitmq has a queue or exchange of that name that was declared differently: delete it or choose another BROKER_PREFIX",
                    ),
                    AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Trouble::misconfigured(
                        format!(
                            "rabbitmq at {self} has no vhost `{vhost}` for user `{user}` ({said}): create it with \
                             `rabbitmqctl add_vhost {vhost}` and `rabbitmqctl set_permissions -p {vhost} {user} \
                             \".*\" \".*\" \".*\"`, or correct RABBITMQ_URL"
                        ),
                        "rabbitmq has no such vhost for the user: create it with `rabbitmqctl add_vhost`, or correct RABBITMQ_URL",
                    ),
                    _ => Trouble::away(format!("rabbitmq at {self}: {said}")),
                }
            }
            _ => Trouble::away(format!("rabbitmq at {self}: {}", one_line(&error.to_string()))),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.authority.host, self.0.authority.port)
    }
}

/// Whether the error ended a channel only: the connection goes on.
pub(super) fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(amqp) if matches!(amqp.kind(), AMQPErrorKind::Soft(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_credentials() {
        let address = Address::parse("amqp://user:geheim@rabbit.example:5673/tenant").expect("a URL");
        assert_eq!(address.to_string(), "rabbit.example:5673");
        assert_eq!(address.uri().vhost, "tenant");
        for url in ["http://user:geheim@host", "geheim", "amqp://user:geheim@host:99999"] {
            let error = Address::parse(url).err().expect("not an AMQP URL").to_string();
            assert!(error.contains("RABBITMQ_URL") && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn no_vhost_is_the_default_one_and_the_url_may_tune() {
        for url in ["amqp://host", "amqp://host/", "amqp://host/%2f"] {
            assert_eq!(Address::parse(url).expect("a URL").uri().vhost, "/");
        }
        let uri = Address::parse("amqp://host?heartbeat=3&frame_max=8192").expect("a URL").uri();
        assert_eq!((uri.query.heartbeat, uri.query.frame_max), (Some(3), Some(8192)));
        let uri = Address::parse("amqp://host").expect("a URL").uri();
        assert_eq!((uri.query.heartbeat, uri.query.frame_max), (Some(HEARTBEAT), Some(FRAME)));
    }
}
