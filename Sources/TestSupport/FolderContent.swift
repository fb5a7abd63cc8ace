public import Basics
import Foundation

/// The digest of every file of a folder, by name: equal exactly when no byte has changed.
public func content(ofFolder path: String) throws -> [String: Digest] {
  var digests: [String: Digest] = [:]
  for name in try FileManager.default.contentsOfDirectory(atPath: path) {
    digests[name] = Digest(of: try Files.read(path + "/" + name))
  }
  return digests
}

/// Copies a folder or a file.
public func copy(_ path: String, to other: String) throws {
  try FileManager.default.copyItem(atPath: path, toPath: other)
}

/// Removes a folder or a file.
public func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: path) }
