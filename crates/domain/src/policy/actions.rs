//! The actions. A permit for one is no permit for another.

use super::{Action, Rule};

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $permission:literal, $rule:ident;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;
            impl Action for $name {
                const PERMISSION: &'static str = $permission;
                const RULE: Rule = Rule::$rule;
            }
        )+
        /// Every action: name, permission, rule.
        pub const ALL: &[(&str, &str, Rule)] = &[$((stringify!($name), $permission, Rule::$rule)),+];
    };
}

actions! {
    /// See and change the own account, end the own sessions, make and revoke the own keys.
    UseAccount = "account.use", Person;
    /// Set up or show the second factor that is required, and sign out.
    ShowFactor = "account.factor", Waiting;
    /// See who one is.
    ReadAccount = "account.read", SignedIn;
    /// Open live connections; each channel asks again.
    UseLive = "live.use", SignedIn;
    /// See organizations.
    ReadOrganizations = "organizations.read", Permission;
    /// Create, change and delete organizations.
    WriteOrganizations = "organizations.write", PlatformAdmin;
    /// See the members of an organization.
    ReadMembers = "members.read", Permission;
    /// Make members, change their rank, end memberships.
    WriteMembers = "members.write", Permission;
    /// See people.
    ReadUsers = "users.read", Permission;
    /// Make, change, suspend and delete people.
    WriteUsers = "users.write", Permission;
    /// End all sessions of somebody else.
    RevokeSessions = "users.revoke", Permission;
    /// See roles and who has them.
    ReadRoles = "roles.read", Permission;
    /// Make, change, delete, give and take roles.
    WriteRoles = "roles.write", Permission;
    /// See the audit log.
    ReadAudit = "audit.read", Permission;
    /// See API clients and their keys' prefixes.
    ReadApplications = "applications.read", Permission;
    /// Make, change and delete API clients, issue and revoke their keys.
    WriteApplications = "applications.write", Permission;
    /// See keys of workflow endpoints.
    ReadWorkflowKeys = "workflow_keys.read", Permission;
    /// Issue and revoke keys of workflow endpoints.
    WriteWorkflowKeys = "workflow_keys.write", Permission;
    /// See identity providers.
    ReadProviders = "identity_providers.read", PlatformAdmin;
    /// Make, change and delete identity providers.
    WriteProviders = "identity_providers.write", PlatformAdmin;
    /// Change the platform's name, colour and logos.
    WriteBranding = "branding.write", PlatformAdmin;
    /// See workflows.
    ReadWorkflows = "workflows.read", Member;
    /// Have source checked.
    ValidateWorkflows = "workflows.validate", Member;
    /// Run workflows.
    RunWorkflows = "executions.run", Permission;
    /// Run posted code: it runs with the platform's libraries, so it is not for members.
    RunCode = "executions.run_code", PlatformAdmin;
    /// See the own executions.
    ReadExecutions = "executions.read", Member;
    /// See everybody's executions of the organization.
    ReadAllExecutions = "executions.read_all", Permission;
    /// Cancel the own executions.
    CancelExecutions = "executions.cancel", Member;
    /// Cancel everybody's executions of the organization.
    CancelAllExecutions = "executions.cancel_all", Permission;
    /// Change configuration values.
    WriteConfig = "config.write", Permission;
    /// See configuration values.
    ReadConfig = "config.read", Permission;
}

/// The permissions that a role may carry: platform admins' own actions are nobody's to give.
#[must_use]
pub fn is_grantable(permission: &str) -> bool {
    ALL.iter().any(|(_, known, rule)| {
        *known == permission
            && !matches!(rule, Rule::PlatformAdmin | Rule::SignedIn | Rule::Person | Rule::Waiting)
    })
}
