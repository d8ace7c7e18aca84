//! Bytes that others have written where rdkafka takes them for text, and panics: read by the C library itself.
//!
//! The only file with unsafe code. Each block reads memory that librdkafka owns, for no longer than its owner is
//! borrowed.
#![expect(
    unsafe_code,
    reason = "rdkafka has no other way to what librdkafka gives as bytes"
)]

use rdkafka::TopicPartitionList;
use std::slice;

/// The metadata of the entries that have some: what a client has committed with its position, any bytes.
pub(super) fn metadata(list: &TopicPartitionList) -> Vec<&[u8]> {
    // SAFETY: the pointer is valid while the list is borrowed, and so are its elements.
    let list = unsafe { &*list.ptr() };
    let Ok(count @ 1..) = usize::try_from(list.cnt) else {
        return Vec::new();
    };
    // SAFETY: the library keeps `cnt` elements there.
    let elements = unsafe { slice::from_raw_parts(list.elems, count) };
    let given = elements
        .iter()
        .filter(|one| !one.metadata.is_null() && one.metadata_size > 0);
    // SAFETY: the library keeps `metadata_size` bytes there.
    let bytes = |one: &rdkafka::types::RDKafkaTopicPartition| unsafe {
        slice::from_raw_parts(one.metadata.cast(), one.metadata_size)
    };
    given.map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_bytes() {
        let mut list = TopicPartitionList::new();
        assert_eq!(metadata(&list), [b""; 0]);
        list.add_partition("t", 0);
        list.add_partition("t", 1).set_metadata("one");
        list.add_partition("t", 2).set_metadata("???");
        // SAFETY: the list has three elements, and these three bytes are the last one's own.
        unsafe {
            let last = (*list.ptr()).elems.add(2);
            (*last).metadata.cast::<[u8; 3]>().write(*b"\xff\xfe\0");
        }
        assert_eq!(metadata(&list), [&b"one"[..], b"\xff\xfe\0"]);
    }
}
