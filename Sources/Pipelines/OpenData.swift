public import DataSets

/// Opens a data set; shows progress where picture files are decoded for the first time.
///
/// - Throws: as `openDataSet`.
public func openDataSetWithProgress(_ spec: String) throws -> any DataSet {
  var line: ProgressLine?
  var decoded = 0
  do {
    let dataSet = try openDataSet(spec) { done, total in
      if line == nil { line = ProgressLine("reading \(spec)", unit: "picture", total: total) }
      line?.update(done: done)
      decoded = done
    }
    line?.finish(done: decoded)
    return dataSet
  } catch {
    line?.clear()
    throw error
  }
}
