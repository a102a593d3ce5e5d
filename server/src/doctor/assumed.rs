//! What a socket and the server beside its sockets take: the figures that the doctor reckons with, in one place. Descriptors,
//! threads at rest and TCP pages were read from a server with SQLite and two cores on Linux 6.18. How memory was measured:
//! docs/PERFORMANCE.md; the figures here are rounded up.

/// Memory of the process for an open socket, without TLS: 1.48 KB measured with a channel of its own, 0.63 KB on shared ones.
pub(crate) const PROCESS_BYTES_PER_SOCKET: u64 = 1_536;
/// The same for a socket whose TLS ends in the process: 3.8 KiB more were seen with 8,000 idle sockets (docs/decisions/0007-tls.md).
/// Behind a proxy that ends it, the figure above counts.
pub(crate) const PROCESS_BYTES_PER_TLS_SOCKET: u64 = PROCESS_BYTES_PER_SOCKET + 4 * 1_024;
/// Memory of the kernel for an open socket whose buffers are empty (socket, file and epoll entry): 3.5 KB measured.
pub(crate) const KERNEL_BYTES_PER_SOCKET: u64 = 4 * 1_024;
/// Memory of the process without sockets: 23 MiB at rest; the rest is for storage's cache, the console and webhooks.
pub(crate) const PROCESS_BYTES_BESIDE: u64 = 64 * 1_024 * 1_024;
/// Descriptors beside those of sockets: 23 at rest with SQLite; the rest is for storage and some webhooks on their way. A server
/// with many webhooks has up to 1,024 of those at a time.
pub(crate) const DESCRIPTORS_BESIDE: u64 = 100;
/// Pages of TCP memory that a socket holds while one message is on its way to its client; none when it is idle. With 2,000
/// sockets whose clients did not read, 0.8 pages each were seen.
pub(crate) const TCP_PAGES_PER_SOCKET: u64 = 1;
/// Threads for each core, whatever the number of sockets: one of the data plane, one for HTTP.
pub(crate) const THREADS_PER_CORE: u64 = 2;
/// Threads beside: 4 at rest; up to 64 look-ups of names, hashing of passwords, storage.
pub(crate) const THREADS_BESIDE: u64 = 128;

/// Memory of process and kernel for an open socket.
pub(crate) fn bytes_per_socket(tls: bool) -> u64 {
    KERNEL_BYTES_PER_SOCKET + if tls { PROCESS_BYTES_PER_TLS_SOCKET } else { PROCESS_BYTES_PER_SOCKET }
}
