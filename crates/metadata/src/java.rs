//! How Java hashes: what Kafka decides by it, or answers in the order of a hash table, comes out the same here.
//!
//! Source: `java.lang.String.hashCode`, `java.util.HashMap`, `java.net.InetAddress.getHostAddress`.

use core::net::IpAddr;

use milena_protocol::Uuid;

/// Java's `String.hashCode`: over UTF-16 code units, wrapping.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The order in which Java's hash table of that many texts goes through them: by bucket, within one as they came.
pub fn java_order<'a>(texts: impl ExactSizeIterator<Item = &'a String>) -> Vec<&'a String> {
    let count = texts.len();
    let mut buckets: u32 = 16;
    while count as u64 * 4 > u64::from(buckets) * 3 {
        buckets *= 2;
    }
    let bucket = |text: &String| {
        let hash = java_hash(text) as u32;
        (hash ^ hash >> 16) & (buckets - 1)
    };
    let mut ordered: Vec<&String> = texts.collect();
    ordered.sort_by_key(|text| bucket(text));
    ordered
}

/// `Uuid.hashCode` of Kafka.
pub fn java_uuid_hash(id: Uuid) -> i32 {
    let bits = u128::from_be_bytes(id.0);
    let folded = (bits >> 64) as u64 ^ bits as u64;
    (folded >> 32) as i32 ^ folded as i32
}

/// An address as Java prints it: IPv6 with all its zeros.
pub fn java_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let groups: Vec<String> = address.segments().iter().map(|group| format!("{group:x}")).collect();
            groups.join(":")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_java_prints_them() {
        assert_eq!(java_address([127, 0, 0, 1].into()), "127.0.0.1");
        assert_eq!(java_address(core::net::Ipv6Addr::LOCALHOST.into()), "0:0:0:0:0:0:0:1");
        let mapped = core::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        assert_eq!(java_address(mapped.into()), "127.0.0.1", "Java has no such address");
    }

    #[test]
    fn ids_hash_as_in_java() {
        // As Java 17 prints `new Uuid(1L, 2L).hashCode()`, and with the largest halves.
        let id = |high: u64, low: u64| Uuid((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        assert_eq!(java_uuid_hash(id(1, 2)), 3);
        assert_eq!(java_uuid_hash(id(u64::MAX, 0x1234_5678_0000_0001)), 305_419_897);
    }

    #[test]
    fn names_come_as_a_java_hash_map_has_them() {
        // As Java 17 prints the maps.
        let names = ["a", "b", "metadata.version", "group.version", "transaction.version", "kraft.version"];
        let expected = ["group.version", "a", "b", "kraft.version", "metadata.version", "transaction.version"];
        assert_eq!(java_order(names.map(str::to_owned).iter()), expected);
    }

    #[test]
    fn what_shares_a_bucket_comes_as_it_came() {
        let ids = ["b", "a", "q"].map(String::from);
        // 'a' is 97, 'b' 98, 'q' 113: modulo 16 they are 1, 2 and 1.
        assert_eq!(java_order(ids.iter()), [&ids[1], &ids[2], &ids[0]]);
    }

    #[test]
    fn a_map_that_has_grown_is_walked_by_its_new_buckets() {
        let names: Vec<String> = (0..14).map(|at| format!("feature.{}", at * 7)).collect();
        let order = java_order(names.iter());
        assert_eq!(order, [1, 10, 13, 3, 6, 9, 0, 12, 2, 5, 8, 11, 4, 7].map(|at| &names[at]));
    }
}
