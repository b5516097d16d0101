//! What values take on the heap, as they ask the allocator for it; what the allocator adds for itself is not known here.

use std::alloc::Layout;

/// The allocation of an `Arc` that holds this value: two counts stand before it.
pub(crate) fn arc<T: ?Sized>(value: &T) -> usize {
    let counts = Layout::new::<[usize; 2]>();
    let value = Layout::for_value(value);
    counts.extend(value).map_or(value.size(), |(both, _)| both.pad_to_align().size())
}

/// The allocation of a vector, without what its elements own.
pub(crate) fn vec<T>(vector: &Vec<T>) -> usize {
    vector.capacity() * size_of::<T>()
}

/// The allocation of a hash map that has room for so many entries of this size: a power of two of places, of which an eighth stays free,
/// with a byte of control each and a group of them more.
pub(crate) fn map(capacity: usize, entry: usize) -> usize {
    const GROUP: usize = 16;
    let places = match capacity {
        0 => return 0,
        1..=3 => 4,
        4..=7 => 8,
        _ => (capacity * 8 / 7).next_power_of_two(),
    };
    places * (entry + 1) + GROUP
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    #[repr(align(128))]
    struct Wide(#[allow(dead_code, reason = "only its size matters")] u8);

    #[test]
    fn an_arc_takes_its_counts_as_well() {
        assert_eq!(arc::<str>(&Arc::from("four")), 24);
        assert_eq!(arc(&7_u64), 24);
        assert_eq!(arc(&Wide(0)), 256);
    }

    #[test]
    fn a_vector_takes_its_capacity() {
        assert_eq!(vec(&Vec::<u32>::with_capacity(10)), 40);
    }

    #[test]
    fn a_map_takes_a_power_of_two_of_places() {
        assert_eq!(map(HashMap::<u64, u64>::new().capacity(), 16), 0);
        let known = [(1, 4), (7, 8), (14, 16), (1_000, 2_048)];
        for (entries, places) in known {
            let of = HashMap::<u64, u64>::with_capacity(entries);
            assert_eq!(map(of.capacity(), 16), places * 17 + 16, "{entries}");
        }
    }
}
