public import Basics

/// The sealed cache that a derived cache came from.
public struct Origin: Codable, Hashable, Sendable {
  /// The identity of its content.
  public var cacheDigest: Digest
  /// Digest of everything that decided its records.
  public var fingerprint: Digest

  /// Names a cache.
  public init(cacheDigest: Digest, fingerprint: Digest) {
    self.cacheDigest = cacheDigest
    self.fingerprint = fingerprint
  }
}
