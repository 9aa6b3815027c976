//! Pages of lists: a store is asked for one row more than a page has, so that it is known whether there is another page.

/// How many rows a page of `limit` asks for.
#[must_use]
pub fn one_more(limit: u32) -> u64 {
    u64::from(limit) + 1
}

/// At most `limit` of what was found, and whether there is more.
#[must_use]
pub fn cut<T>(mut found: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    (found, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_limit() {
        assert_eq!(cut(vec![1, 2], 2), (vec![1, 2], false));
        assert_eq!(cut(vec![1, 2, 3], 2), (vec![1, 2], true));
        assert_eq!((cut(Vec::<u8>::new(), 2), one_more(2)), ((Vec::new(), false), 3));
    }
}
