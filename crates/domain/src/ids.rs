//! Typed ids over UUIDv7 (RFC 9562), so that an organization's id cannot be handed to a query for users.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to name this kind of object (a row, a parsed path).
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )+};
}

typed_ids! {
    /// A customer organization (or the provider's own).
    OrganizationId,
    /// A person, or the system user.
    UserId,
    /// A role inside one organization.
    RoleId,
    /// A workflow discovered in the workspace.
    WorkflowId,
    /// A form.
    FormId,
    /// One execution: the id carries the time at which it was accepted, which also names its partition.
    ExecutionId,
    /// One worker process, for the time of its life.
    WorkerId,
    /// One signed-in session (a refresh-token family).
    SessionId,
    /// A cron schedule.
    ScheduleId,
    /// One line of the audit log.
    AuditId,
    /// A configuration value.
    ConfigId,
    /// An API client.
    ApplicationId,
    /// A browser that is trusted without a second factor.
    TrustedDeviceId,
    /// An external identity provider.
    IdentityProviderId,
    /// A key that a program shows: of an API client, of a person, or of workflow endpoints.
    KeyId,
    /// A program that asked a person to sign it in.
    DeviceGrantId,
}
