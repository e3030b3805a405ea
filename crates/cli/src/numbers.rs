//! Numbers on the command line: what is no number, or out of range, is told in words.

/// From 1 on: counts of things that there has to be one of.
pub(crate) fn positive<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    at_least(1, text)
}

/// From 0 on: offsets, numbers of partitions, times.
pub(crate) fn natural<T: TryFrom<i128>>(text: &str) -> Result<T, String> {
    at_least(0, text)
}

/// A number with or without a point.
pub(crate) fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| format!("\"{text}\" is no number"))
}

fn at_least<T: TryFrom<i128>>(least: i128, text: &str) -> Result<T, String> {
    match text.parse::<i128>() {
        Err(_) => Err("it is no whole number".to_owned()),
        Ok(number) if number < least => Err(format!("it must be at least {least}")),
        Ok(number) => T::try_from(number).map_err(|_| "it is too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_least_and_a_largest_value() {
        assert_eq!(positive::<i32>("1"), Ok(1));
        assert_eq!(natural::<u64>("0"), Ok(0));
        assert_eq!(positive::<i32>("0"), Err("it must be at least 1".to_owned()));
        assert_eq!(natural::<u64>("-1"), Err("it must be at least 0".to_owned()));
        assert_eq!(positive::<i16>("40000"), Err("it is too large".to_owned()));
        assert_eq!(positive::<i32>("one"), Err("it is no whole number".to_owned()));
    }

    #[test]
    fn numbers_with_a_point_end_somewhere() {
        assert_eq!((finite("1e7"), finite("-0.5")), (Ok(1e7), Ok(-0.5)));
        assert!(finite("NaN").is_err() && finite("inf").is_err() && finite("").is_err() && finite("1,5").is_err());
    }
}
