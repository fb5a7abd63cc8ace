/// A number and what it counts: "1 record", "3 records", "1 class", "0 classes".
///
/// - Parameter many: the plural, when it is not the singular and an s.
public func counted(_ count: Int, _ one: String, _ many: String? = nil) -> String {
  "\(count) \(count == 1 ? one : many ?? one + "s")"
}
