//! What the allocator keeps for later.

/// Gives what is free back to the system.
///
/// glibc keeps blocks of up to 32 MiB once it has seen one of that size (mallopt(3), `M_MMAP_THRESHOLD`), so that the 19 MiB of a password
/// check stay with the process. To have each of them fresh from the system costs a check half as much again; so it is given back when there
/// was none for a while. Takes about a millisecond; a no-op with other allocators.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "no crate of ours wraps it")]
        // SAFETY: malloc_trim(3) takes a number and may be called by any thread at any time.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}
