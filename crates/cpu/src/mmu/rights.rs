//! What a page allows to whom (SDM Vol. 3A, "Determination of Access Rights").

use serde::{Deserialize, Serialize};
use x86::{Cr0, Cr4};

/// What an access wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// Load.
    Read,
    /// Store, or load with intent to store.
    Write,
    /// Fetch of instructions.
    Fetch,
}

/// With whose rights an access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// As supervisor, to pages of both kinds.
    Supervisor,
    /// As user.
    User,
    /// As supervisor whose loads and stores SMAP keeps from user pages.
    Closed,
}

/// An access and with whose rights it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What it wants to do.
    pub kind: AccessKind,
    /// Who wants it.
    pub privilege: Privilege,
}

impl Access {
    /// Made with user rights: what U/S in an error code says.
    pub const fn is_user(self) -> bool {
        matches!(self.privilege, Privilege::User)
    }
}

/// The bits of control registers that rights are judged by, beside those in the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guards {
    /// CR0.WP: the supervisor keeps to R/W too.
    pub write_protect: bool,
    /// CR4.SMEP: the supervisor fetches no instructions from user pages.
    pub smep: bool,
}

impl Guards {
    /// The guards that these registers set.
    pub const fn of(cr0: Cr0, cr4: Cr4) -> Self {
        Guards { write_protect: cr0.contains(Cr0::WP), smep: cr4.contains(Cr4::SMEP) }
    }
}

/// What the entries on the way to a page allow, all levels together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rights {
    /// R/W in every level.
    pub writable: bool,
    /// U/S in every level.
    pub user: bool,
    /// XD in no level.
    pub executable: bool,
}

impl Rights {
    /// Whether `access` is allowed. SMAP is in its privilege.
    #[inline]
    pub const fn allow(self, access: Access, guards: Guards) -> bool {
        let is_user = access.is_user();
        if is_user && !self.user {
            return false;
        }
        match access.kind {
            AccessKind::Fetch => self.executable && (is_user || !self.user || !guards.smep),
            _ if self.user && matches!(access.privilege, Privilege::Closed) => false,
            AccessKind::Read => true,
            AccessKind::Write => self.writable || !(is_user || guards.write_protect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_determined_as_the_manual_says() {
        use AccessKind::{Fetch, Read, Write};
        use Privilege::{Closed, Supervisor, User};
        // Letters: u user page, w writable, x executable; P write protect, E SMEP.
        for (page, kind, privilege, guards, expect) in [
            ("x", Read, Supervisor, "", true),
            ("x", Read, Closed, "PE", true),
            ("x", Read, User, "", false),
            ("ux", Read, User, "PE", true),
            ("ux", Read, Supervisor, "PE", true),
            ("ux", Read, Closed, "", false),
            ("uwx", Write, Closed, "", false),
            ("uwx", Write, Supervisor, "P", true),
            ("ux", Write, Supervisor, "", true),
            ("ux", Write, Supervisor, "P", false),
            ("ux", Write, User, "", false),
            ("uwx", Write, User, "P", true),
            ("x", Write, Closed, "", true),
            ("x", Write, Closed, "P", false),
            ("wx", Write, User, "", false),
            ("ux", Fetch, Supervisor, "P", true),
            ("ux", Fetch, Supervisor, "E", false),
            ("ux", Fetch, Closed, "", true),
            ("ux", Fetch, Closed, "E", false),
            ("ux", Fetch, User, "E", true),
            ("uw", Fetch, User, "", false),
            ("w", Fetch, Supervisor, "", false),
            ("x", Fetch, Supervisor, "E", true),
            ("x", Fetch, User, "", false),
        ] {
            let has = |letter| page.contains(letter);
            let rights = Rights { writable: has('w'), user: has('u'), executable: has('x') };
            let guards = Guards { write_protect: guards.contains('P'), smep: guards.contains('E') };
            let seen = rights.allow(Access { kind, privilege }, guards);
            assert_eq!(seen, expect, "{page} {kind:?} {privilege:?} {guards:?}");
        }
    }
}
