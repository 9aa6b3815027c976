use super::*;
use crate::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    error::Kind,
    user::UserType,
};
use std::fmt::Write;

/// Calls a macro with every action; a new one that is not here fails the count.
macro_rules! for_every_action {
    ($row:ident) => {
        for_every_action!(@ $row:
            UseAccount ShowFactor ReadAccount UseLive ReadOrganizations WriteOrganizations ReadMembers WriteMembers ReadUsers WriteUsers RevokeSessions
            ReadRoles WriteRoles ReadAudit ReadApplications WriteApplications ReadWorkflowKeys WriteWorkflowKeys ReadProviders
            WriteProviders WriteBranding ReadWorkflows ValidateWorkflows RunWorkflows RunCode ReadExecutions ReadAllExecutions
            CancelExecutions CancelAllExecutions WriteConfig ReadConfig)
    };
    (@ $row:ident: $($action:ident)+) => {
        assert_eq!([$(stringify!($action)),+].as_slice(), actions::ALL.iter().map(|one| one.0).collect::<Vec<_>>());
        $($row!($action);)+
    };
}
fn organization() -> OrganizationId {
    OrganizationId::from_uuid(SystemIds.next())
}

fn user(is_superuser: bool, organization_id: Option<OrganizationId>) -> User {
    let now = SystemClock.now();
    User {
        id: UserId::from_uuid(SystemIds.next()),
        email: "a@b.example".into(),
        name: None,
        user_type: if is_superuser { UserType::Platform } else { UserType::Org },
        organization_id,
        is_active: true,
        is_superuser,
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    }
}

fn admin() -> Caller {
    Caller::of_user(&user(true, None), &Arc::default(), None, None).expect("anywhere")
}

fn member(home: OrganizationId, role: MembershipRole, permissions: &[&str]) -> Caller {
    let rights = Arc::new(Rights::of_member(home, role, permissions));
    Caller::of_user(&user(false, Some(home)), &rights, None, None).expect("at home")
}

/// The whole policy of actions, to be read: who may what.
#[test]
fn the_table_of_roles_and_actions() {
    let home = organization();
    let technician = user(false, None);
    let technician = Caller::of_user(&technician, &Arc::default(), None, None).expect("in GLOBAL");
    let of = |role| member(home, role, &[]);
    let who = [
        ("platform admin", admin()),
        ("owner", of(MembershipRole::Owner)),
        ("admin", of(MembershipRole::Admin)),
        ("member", of(MembershipRole::Member)),
        ("limited", of(MembershipRole::Limited)),
        ("GLOBAL, no admin", technician),
    ];
    let mut table = String::new();
    let _ = write!(table, "{:<26}", "permission");
    for (name, _) in &who {
        let _ = write!(table, " | {name}");
    }
    let _ = writeln!(table, " | with a role that grants it");
    macro_rules! row {
        ($action:ident) => {
            let permission = <actions::$action as Action>::PERMISSION;
            let _ = write!(table, "{permission:<26}");
            for (name, caller) in &who {
                let said = if may::<actions::$action>(caller) { "yes" } else { "-" };
                let _ = write!(table, " | {said:<width$}", width = name.len());
            }
            let granted = member(home, MembershipRole::Limited, &[permission]);
            let _ = writeln!(table, " | {}", if may::<actions::$action>(&granted) { "yes" } else { "-" });
        };
    }
    for_every_action!(row);
    insta::assert_snapshot!("table", table);
}

#[test]
fn permissions_are_names_of_a_resource_and_a_verb_and_each_is_one_action() {
    let names: BTreeSet<_> = actions::ALL.iter().map(|(_, permission, _)| *permission).collect();
    assert_eq!(names.len(), actions::ALL.len());
    for name in names {
        let (resource, verb) = name.split_once('.').expect("a dot");
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain(resource) && plain(verb), "{name}");
    }
}

#[test]
fn nobody_gives_what_he_has_not() {
    let home = organization();
    let owner = member(home, MembershipRole::Owner, &[]);
    assert!(may_grant(&owner, "executions.run"));
    for platform in ["organizations.write", "executions.run_code", "account.use", "no.such"] {
        assert!(!may_grant(&owner, platform), "{platform}");
        assert!(!may_grant(&admin(), platform), "{platform}: a role cannot carry it");
    }
    let some = member(home, MembershipRole::Member, &["roles.write", "users.read"]);
    assert!(may_grant(&some, "users.read"));
    assert!(!may_grant(&some, "users.write"));
}

#[test]
fn nobody_names_somebody_above_himself() {
    let (home, other) = (organization(), organization());
    let chief = member(home, MembershipRole::Admin, &[]);
    assert!(may_name(&chief, home, MembershipRole::Admin));
    assert!(!may_name(&chief, home, MembershipRole::Owner));
    assert!(!may_name(&chief, other, MembershipRole::Limited));
    assert!(may_name(&admin(), other, MembershipRole::Owner));
}

#[test]
fn an_action_reaches_where_the_caller_acts() {
    let (home, other) = (organization(), organization());
    let mut rights = Rights::of_member(home, MembershipRole::Admin, &[]);
    rights.held.extend(Rights::of_member(other, MembershipRole::Member, &["users.read"]).held);
    let rights = Arc::new(rights);
    let ann = user(false, Some(home));
    let at = |place| Caller::of_user(&ann, &rights, place, None).expect("a member");
    let permit = authorize::<actions::ReadUsers>(&at(None)).expect("an admin");
    assert_eq!(permit.reach(), Reach::Organizations([home].into()));
    assert_eq!(permit.everywhere(), Reach::Organizations([home, other].into()));
    let permit = authorize::<actions::ReadOrganizations>(&at(None)).expect("an admin");
    assert_eq!(permit.everywhere(), Reach::Organizations([home].into()));
    assert!(authorize::<actions::WriteUsers>(&at(Some(other))).is_err(), "rights stay in their organization");
    let permit = authorize::<actions::ReadUsers>(&admin()).expect("all");
    assert!(permit.reach().contains(home) && permit.everywhere().contains(other));
}

#[test]
fn rights_differ_by_person_rank_scope_and_permission() {
    let ann = member(organization(), MembershipRole::Member, &["executions.run"]);
    assert!(ann.has_rights_of(&ann.clone()));
    let changes: [fn(&mut Caller); 5] = [
        |ann| ann.user_id = UserId::from_uuid(SystemIds.next()),
        |ann| ann.is_platform_admin = true,
        |ann| ann.scope = Scope::Global,
        |ann| ann.permissions = BTreeSet::new(),
        |ann| ann.role = Some(MembershipRole::Admin),
    ];
    for change in changes {
        let mut changed = ann.clone();
        change(&mut changed);
        assert!(!ann.has_rights_of(&changed), "{changed:?}");
    }
}

#[test]
fn a_stranger_cannot_name_another_organization() {
    let (home, other) = (organization(), organization());
    let rights = Arc::new(Rights::of_member(home, MembershipRole::Owner, &[]));
    let ann = user(false, Some(home));
    let error = Caller::of_user(&ann, &rights, Some(other), None).expect_err("not a member");
    assert_eq!(error.kind, Kind::Forbidden);
    let boss = Caller::of_user(&user(true, None), &Arc::default(), Some(other), None).expect("admin");
    assert_eq!(boss.scope, Scope::Organization(other));
}

#[test]
fn nobody_acts_in_an_organization_that_is_not_active() {
    let (home, other) = (organization(), organization());
    let mut rights = Rights::of_member(home, MembershipRole::Owner, &[]);
    if let Some(held) = rights.held.get_mut(&home) {
        held.is_active = false;
    }
    let ann = user(false, Some(home));
    assert!(!rights.admit(&ann));
    let alone = Arc::new(rights.clone());
    for asked in [None, Some(home)] {
        assert_eq!(Caller::of_user(&ann, &alone, asked, None).expect_err("closed").kind, Kind::Forbidden);
    }
    rights.held.extend(Rights::of_member(other, MembershipRole::Member, &[]).held);
    assert!(rights.admit(&ann));
    let caller = Caller::of_user(&ann, &Arc::new(rights), None, None).expect("in the other one");
    assert_eq!(caller.scope, Scope::Organization(other));
}

#[test]
fn a_session_stays_where_it_was_switched_to_while_that_is_open() {
    let (home, other) = (organization(), organization());
    let mut rights = Rights::of_member(home, MembershipRole::Member, &[]);
    rights.held.extend(Rights::of_member(other, MembershipRole::Member, &[]).held);
    let mut state = SessionState {
        session_id: SessionId::from_uuid(SystemIds.next()),
        user: user(false, Some(home)),
        organization_id: Some(other),
        rights: Arc::new(rights),
        owes_factor: false,
    };
    let scope = |state: &SessionState| Caller::of_session(state, None).expect("a member").scope;
    assert_eq!(scope(&state), Scope::Organization(other));
    state.rights = Arc::new(Rights::of_member(home, MembershipRole::Member, &[]));
    assert_eq!(scope(&state), Scope::Organization(home));
}

#[test]
fn who_owes_a_second_factor_may_show_it_and_nothing_else() {
    let mut anybody = [admin(), member(organization(), MembershipRole::Owner, &["roles.write"])];
    for caller in &mut anybody {
        assert!(may::<actions::ShowFactor>(caller));
        caller.owes_factor = true;
        let caller = &*caller;
        macro_rules! row {
            ($action:ident) => {{
                let answer = authorize::<actions::$action>(caller).map(drop).map_err(|error| error.code);
                let is_way = actions::$action::RULE == Rule::Waiting;
                assert_eq!(may::<actions::$action>(caller), is_way);
                assert_eq!(answer, if is_way { Ok(()) } else { Err(Some("mfa_required")) });
            }};
        }
        for_every_action!(row);
    }
    let [before, _] = &anybody;
    let shown = Caller { owes_factor: false, ..before.clone() };
    assert!(!shown.has_rights_of(before), "a live connection ends");
    assert!(shown.has_all_rights_of(before) && before.has_all_rights_of(&shown));
}

#[test]
fn what_is_not_reached_is_not_found_and_what_is_not_own_is_forbidden() {
    let home = organization();
    let ann = member(home, MembershipRole::Member, &[]);
    let seen = visible_executions(&ann);
    assert!(!seen.reaches(Scope::Global));
    assert!(seen.reaches(Scope::Organization(home)));
    assert!(seen.may_read_of(ann.user_id));
    assert!(!seen.may_read_of(UserId::from_uuid(SystemIds.next())));
    assert!(!seen.internal());
}
