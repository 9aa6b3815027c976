//! The few system calls without a safe wrapper: descriptors across sockets, signals by pidfd, a fixed descriptor number
//! for the zygote. All `unsafe` of this crate is in this file.

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    libc,
    sys::{
        prctl,
        signal::Signal,
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
            sendmsg, socketpair,
        },
    },
    time::{ClockId, clock_gettime},
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Makes the calling process not dumpable: other processes of the same user can neither attach to it nor read its
/// environment and memory through `/proc`. To be called once, at the start of a worker.
///
/// # Errors
/// When the kernel refuses.
pub fn harden_process() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// What this process needs to look after processes of other users: it hands its folders over and takes them back (`CAP_CHOWN`), and
/// signals what runs in them (`CAP_KILL`). Root has both unless they were taken away.
const LOOK_AFTER_OTHERS: [(&str, u32); 2] = [("CAP_CHOWN", 0), ("CAP_KILL", 5)];

/// Which of the capabilities to look after processes of other users this process does not have.
pub(crate) fn lacking_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    LOOK_AFTER_OTHERS.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect()
}

/// Where the monotonic clock stands, which all processes of the machine share (`CLOCK_MONOTONIC`, Python's `time.monotonic`).
pub(crate) fn monotonic() -> std::time::Duration {
    // The clock exists on every kernel that this crate runs on; without it the lease would end at once, which is the safe side.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default()
}

/// A pair of connected packet sockets: ours does not block, the other does.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// Lets the program that `command` starts find `fd` under `number`.
pub(crate) fn pass_as(command: &mut tokio::process::Command, fd: OwnedFd, number: RawFd) {
    let place = move || {
        if fd.as_raw_fd() == number {
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        } else {
            // SAFETY: the child is about to exec; nothing else there owns `number`, and the returned owner is given up
            // at once so that the descriptor stays open.
            #[expect(unsafe_code, reason = "a descriptor is put under a fixed number before exec")]
            let placed = unsafe { nix::unistd::dup2_raw(&fd, number) }?;
            let _kept_open = placed.into_raw_fd();
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes only async-signal-safe calls (fcntl, dup2) and allocates nothing.
    #[expect(unsafe_code, reason = "the only way to hand a descriptor over exec under a fixed number")]
    unsafe {
        command.pre_exec(place);
    }
}

/// Sends one packet, with a descriptor when given.
pub(crate) fn send_packet(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let raw;
    let rights;
    let mut messages: &[ControlMessage<'_>] = &[];
    if let Some(fd) = fd {
        raw = [fd.as_raw_fd()];
        rights = [ControlMessage::ScmRights(&raw)];
        messages = &rights;
    }
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(packet)], messages, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one packet into `buffer` and at most one descriptor; `Ok(0)` is the end.
pub(crate) fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut received = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us; nobody else knows it. Surplus ones close here.
                #[expect(unsafe_code, reason = "a received descriptor has no owner yet")]
                let owned = unsafe { OwnedFd::from_raw_fd(fd) };
                received.get_or_insert(owned);
            }
        }
    }
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet longer than 64 KiB"));
    }
    Ok((message.bytes, received))
}

/// Signals the process behind a pidfd: never another one that got its number.
pub(crate) fn signal(pidfd: impl AsFd, signal: Signal) -> io::Result<()> {
    // SAFETY: plain integers and a null pointer; the descriptor is alive for the time of the call.
    #[expect(unsafe_code, reason = "no safe wrapper for pidfd_send_signal")]
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal as libc::c_int,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match Errno::result(done) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Registers a descriptor with the runtime.
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same descriptor and keeps it open until the registration is dropped.
    #[expect(unsafe_code, reason = "registering asks for a stable, open descriptor")]
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_hardened_process_is_not_dumpable() {
        harden_process().expect("hardened");
        assert!(!prctl::get_dumpable().expect("asked"));
    }

    #[test]
    fn packets_keep_their_bounds_and_carry_a_descriptor() {
        let (ours, theirs) = packet_pair().expect("a pair");
        let (mut near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        send_packet(ours.as_fd(), b"one", None).expect("sent");
        send_packet(ours.as_fd(), b"two", Some(far.as_fd())).expect("sent");
        drop(far);
        let mut buffer = [0; 16];
        assert!(matches!(receive_packet(theirs.as_fd(), &mut buffer), Ok((3, None))));
        let (length, fd) = receive_packet(theirs.as_fd(), &mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"two");
        let mut far = std::os::unix::net::UnixStream::from(fd.expect("a descriptor"));
        near.write_all(b"x").expect("written");
        let mut byte = [0];
        far.read_exact(&mut byte).expect("read");
        assert_eq!(&byte, b"x");

        send_packet(ours.as_fd(), &[1; 17], None).expect("sent");
        assert!(receive_packet(theirs.as_fd(), &mut buffer).is_err(), "a longer packet is not cut silently");
        drop(ours);
        assert!(matches!(receive_packet(theirs.as_fd(), &mut buffer), Ok((0, None))));
    }
}
