//! What can be wrong with a frame, in its link layer or its IP header.

/// VLAN tags that a frame can have.
pub const VLAN_TAGS_MAX: usize = 4;

/// Why a frame could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The frame ends inside its link-layer header.
    #[error("the frame ends inside its link-layer header")]
    LinkHeaderCut,
    /// The frame has more VLAN tags than [`VLAN_TAGS_MAX`].
    #[error("the frame has more than {} VLAN tags", VLAN_TAGS_MAX)]
    TooManyVlanTags,
    /// The capture ends inside the fixed part of the IP header.
    #[error("the capture ends inside the IP header")]
    IpHeaderCut,
    /// The IP version is not the one that the link layer announced, or neither 4 nor 6.
    #[error("the IP version is not 4 or 6 or not what the link layer announced")]
    IpVersion,
    /// The IPv4 header length is less than 20 bytes.
    #[error("the IPv4 header length is less than 20 bytes")]
    HeaderLength,
    /// The IPv4 total length is less than the header length.
    #[error("the IPv4 total length is less than the header length")]
    TotalLength,
}
