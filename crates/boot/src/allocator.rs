//! How the allocator treats large blocks.

/// Blocks of this size and more are the system's again when they are freed, bytes.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 1024 * 1024;

/// Gives large blocks back to the system as soon as they are freed.
///
/// glibc begins so, but raises its bound to the size of each such block that is freed, up to 32 MiB (mallopt(3), `M_MMAP_THRESHOLD`): after
/// one password check the 19 MiB of every processor's next one would stay. To be called before there are threads.
pub fn give_large_blocks_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "no crate of ours wraps it")]
        // SAFETY: it takes two numbers, and nothing else allocates meanwhile.
        unsafe {
            nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, LARGE);
        }
    }
}
