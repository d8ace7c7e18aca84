//! The parts of librdkafka that rdkafka hides: bytes of other clients, which it takes for text and panics on; topic
//! ids.
//!
//! The only file with unsafe code: it calls librdkafka, and reads memory that the library owns while the owner is
//! borrowed.
#![expect(
    unsafe_code,
    reason = "rdkafka has no safe way to header names, committed metadata and topic ids"
)]

use rdkafka::TopicPartitionList;
use rdkafka::bindings::*;
use rdkafka::client::{Client, ClientContext};
use rdkafka::message::{BorrowedMessage, OwnedHeaders};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;
use std::{ptr, slice};

const DONE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A header: its name, up to a zero byte, and its value, which may be null.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The headers of a message, in their order.
pub fn headers<'a>(message: &'a BorrowedMessage<'_>) -> impl Iterator<Item = Header<'a>> + use<'a> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is borrowed, and the library keeps the headers with it.
    let found = unsafe { rd_kafka_message_headers(message.ptr(), &mut headers) } == DONE;
    let headers = found.then_some(headers.cast_const()).into_iter();
    // SAFETY: as above; `header` returns the lifetime of the message.
    headers.flat_map(|headers| (0..).map_while(move |index| unsafe { header(headers, index) }))
}

/// One header by its index; `None` after the last.
///
/// # Safety
///
/// The headers live for `'a`.
unsafe fn header<'a>(headers: *const rd_kafka_headers_t, index: usize) -> Option<Header<'a>> {
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the caller's contract.
    let found =
        unsafe { rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
    // SAFETY: the library ends each name with a zero byte, and keeps `size` bytes of each non-null value.
    (found == DONE).then(|| unsafe {
        let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast(), size));
        (CStr::from_ptr(name).to_bytes(), value)
    })
}

/// Appends a header. The name may be any bytes, zeros included.
pub fn add_header(headers: OwnedHeaders, name: &[u8], value: Option<&[u8]>) -> OwnedHeaders {
    let native = ptr::from_ref(headers.as_borrowed())
        .cast_mut()
        .cast::<rd_kafka_headers_t>();
    let (start, size) = value.map_or((ptr::null(), 0), |value| (value.as_ptr(), value.len()));
    // SAFETY: owned headers may be changed; the library copies name and value.
    unsafe {
        rd_kafka_header_add(
            native,
            name.as_ptr().cast(),
            name.len() as isize,
            start.cast(),
            size as isize,
        );
    }
    headers
}

/// The metadata of each entry: the bytes that a client committed with its position, or nothing.
pub(super) fn metadata(list: &TopicPartitionList) -> Vec<&[u8]> {
    // SAFETY: the pointer is valid while the list is borrowed, and so are its elements.
    let elements = unsafe {
        let list = list.ptr();
        elements((*list).elems, (*list).cnt)
    };
    let bytes = |one: &rdkafka::types::RDKafkaTopicPartition| match one.metadata.is_null() {
        true => &[],
        // SAFETY: the library keeps `metadata_size` bytes there.
        false => unsafe { slice::from_raw_parts(one.metadata.cast(), one.metadata_size) },
    };
    elements.iter().map(bytes).collect()
}

/// A member of a group: its client id and host, as the client reports them, and the bytes of its subscription and
/// assignment.
pub(super) struct RawMember {
    pub(super) group: String,
    pub(super) client: String,
    pub(super) host: String,
    pub(super) subscription: Vec<u8>,
    pub(super) assignment: Vec<u8>,
}

/// The members of a group, or of all groups; empty if the group does not exist.
pub(super) fn members<C: ClientContext>(
    client: &Client<C>,
    group: Option<&CStr>,
    wait: Duration,
) -> Result<Vec<RawMember>, RDKafkaErrorCode> {
    let wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    let mut list = ptr::null();
    // SAFETY: the client is borrowed. The list is copied and then destroyed.
    unsafe {
        let group = group.map_or(ptr::null(), CStr::as_ptr);
        let error = rd_kafka_list_groups(client.native_ptr(), group, &raw mut list, wait);
        if error != DONE {
            if !list.is_null() {
                rd_kafka_group_list_destroy(list);
            }
            return Err(error.into());
        }
        let groups = elements((*list).groups, (*list).group_cnt);
        let members = groups.iter().flat_map(|group| {
            let members = elements(group.members, group.member_cnt).iter();
            members.map(move |one| (group, one))
        });
        let members = members.map(|(group, one)| RawMember {
            group: text(group.group),
            client: text(one.client_id),
            host: text(one.client_host),
            subscription: elements(one.member_metadata.cast(), one.member_metadata_size).to_vec(),
            assignment: elements(one.member_assignment.cast(), one.member_assignment_size).to_vec(),
        });
        let members = members.collect();
        rd_kafka_group_list_destroy(list);
        Ok(members)
    }
}

/// # Safety
///
/// The library keeps `count` elements there for `'a`, or the pointer is null.
unsafe fn elements<'a, T>(start: *const T, count: c_int) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: the caller's contract.
        Ok(count) if !start.is_null() => unsafe { slice::from_raw_parts(start, count) },
        _ => &[],
    }
}

/// # Safety
///
/// The pointer is null, or points to a text that ends with a zero byte.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: the caller's contract.
    unsafe { CStr::from_ptr(start) }
        .to_string_lossy()
        .into_owned()
}

/// The id of a topic from a broker; 0 from brokers that are too old for topic ids. Does not create the topic.
///
/// Errors: the topic does not exist, or no answer within `wait`.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &CStr,
    wait: Duration,
) -> Result<u128, RDKafkaErrorCode> {
    let client = client.native_ptr();
    let wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    let mut names = [topic.as_ptr()];
    // SAFETY: the client is borrowed. Everything made here is destroyed here, once, after its last use; the parts of
    // the answer live in its event. The library always answers, with an error after the time limit.
    unsafe {
        let queue = rd_kafka_queue_new(client);
        let kind = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = rd_kafka_AdminOptions_new(client, kind);
        rd_kafka_AdminOptions_set_request_timeout(options, wait, ptr::null_mut(), 0);
        let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = rd_kafka_queue_poll(queue, -1);
        let id = described(event);
        rd_kafka_event_destroy(event);
        rd_kafka_TopicCollection_destroy(topics);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_queue_destroy(queue);
        id
    }
}

/// The id of the only topic in an answer.
///
/// # Safety
///
/// The event is an answer of `rd_kafka_DescribeTopics`.
unsafe fn described(event: *mut rd_kafka_event_t) -> Result<u128, RDKafkaErrorCode> {
    // SAFETY: the event lives as long as this call, and so do its parts.
    unsafe {
        let error = rd_kafka_event_error(event);
        if error != DONE {
            return Err(error.into());
        }
        let result = rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 {
            return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
        }
        let error = rd_kafka_error_code(rd_kafka_TopicDescription_error(*topics));
        if error != DONE {
            return Err(error.into());
        }
        let id = rd_kafka_TopicDescription_topic_id(*topics);
        let halves = [
            rd_kafka_Uuid_most_significant_bits(id),
            rd_kafka_Uuid_least_significant_bits(id),
        ];
        let [high, low] = halves.map(|half| u128::from(half.cast_unsigned()));
        Ok(high << 64 | low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers_are_any_bytes_also_in_a_copy() {
        let headers = add_header(OwnedHeaders::new(), b"\xff\xfe\0z", Some(b""));
        let copy = add_header(headers.clone(), b"", None);
        for (headers, count) in [(headers, 1), (copy, 2)] {
            let native = ptr::from_ref(headers.as_borrowed()).cast::<rd_kafka_headers_t>();
            // SAFETY: the headers live until the end of this block.
            let all: Vec<Header<'_>> =
                unsafe { (0..).map_while(|index| header(native, index)).collect() };
            let expected: [Header<'_>; 2] = [(b"\xff\xfe", Some(b"")), (b"", None)];
            assert_eq!(all, expected[..count]);
            // SAFETY: the name has four bytes.
            let whole = unsafe { slice::from_raw_parts(all[0].0.as_ptr(), 4) };
            assert_eq!(whole, b"\xff\xfe\0z");
        }
    }

    #[test]
    fn metadata_is_read_as_bytes() {
        let mut list = TopicPartitionList::new();
        assert_eq!(metadata(&list), [b""; 0]);
        list.add_partition("t", 0);
        list.add_partition("t", 1).set_metadata("one");
        list.add_partition("t", 2).set_metadata("???");
        // SAFETY: the list has three elements, and these three bytes belong to the last one.
        unsafe {
            let last = (*list.ptr()).elems.add(2);
            (*last).metadata.cast::<[u8; 3]>().write(*b"\xff\xfe\0");
        }
        assert_eq!(metadata(&list), [&b""[..], b"one", b"\xff\xfe\0"]);
    }
}
