/// Why debugging can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none of the forms that we take.
    #[error("`{0}` is no address for gdb: give HOST:PORT, a port, or unix:PATH")]
    BadAddress(String),
    /// The address can't be listened on.
    #[error("cannot wait for gdb on {address}: {source}")]
    Listen {
        /// As the user would write it.
        address: String,
        /// The host's reason.
        source: std::io::Error,
    },
    /// The connection broke in a way that is not just its end.
    #[error("the connection to gdb broke: {0}")]
    Connection(#[from] std::io::Error),
}
