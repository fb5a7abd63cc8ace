import Arrays
import Basics
import DataSets
import LogitCache

/// The labels of imported rows: those of samples, or of all their positions.
struct ImportLabels: Sendable {
  /// [samples], or [samples, positions] with -1 where a position has none.
  let values: [Int32]
  /// The labels of each sample.
  let positions: Int

  /// Reads the labels of a file, or takes those of a data set; of both they must be the same.
  ///
  /// - Throws: `Problem` naming the file and the sample.
  init(
    _ job: ImportJob, _ dataSet: (any DataSet)?, samples: Int, classes: Int, _ rows: ArrayFile
  ) throws {
    if let name = job.labels {
      let file = try ArrayFile(name)
      let isOfPositions = file.shape.count == 2 && job.positions != nil
      guard file.shape.first == samples, file.shape.count == (isOfPositions ? 2 : 1),
        file.count > 0
      else {
        throw Problem(
          .corrupt,
          "\(name) has the shape \(file.shape), \(rows.name) has \(samples) samples: [\(samples)] is "
            + "expected, or with --positions or --counts [\(samples), positions]")
      }
      try file.demand(isIndex: true)
      positions = isOfPositions ? file.shape[1] : 1
      values = try ImportLabels.read(file, positions: positions, classes: classes)
      guard values.contains(where: { $0 >= 0 }) else {
        throw Problem(
          .corrupt, "\(name) has no label: every position of every sample is masked")
      }
      if let dataSet { try demandEqual(to: dataSet, name) }
    } else if let dataSet {
      (values, positions) = (dataSet.labels, dataSet.positions)
    } else {
      throw Problem(.usage, "rows need labels: give --labels, or the data set with --data")
    }
  }

  private static func read(
    _ file: ArrayFile, positions: Int, classes: Int
  ) throws -> [Int32] {
    var labels: [Int32] = []
    labels.reserveCapacity(file.count)
    try forEachPiece(of: file) { index, label in
      // PyTorch masks with -100, others with -1.
      let isMasked = label < 0 && positions > 1
      guard isMasked || (0..<classes).contains(label) else {
        throw Problem(
          .corrupt,
          "\(file.name): \(place(index, positions)) has the label \(label), the classes are "
            + "0..<\(classes)")
      }
      labels.append(isMasked ? -1 : Int32(label))
    }
    return labels
  }

  private func demandEqual(to dataSet: any DataSet, _ name: String) throws {
    guard positions == dataSet.positions else {
      throw Problem(
        .corrupt,
        "\(name) has \(counted(positions, "label")) of a sample, data set \(dataSet.name) has "
          + "\(dataSet.positions)")
    }
    guard values != dataSet.labels else { return }
    if let index = values.indices.first(where: { values[$0] != dataSet.labels[$0] }) {
      throw Problem(
        .corrupt,
        "\(name): \(ImportLabels.place(index, positions)) has the label \(values[index]), data set "
          + "\(dataSet.name) says \(dataSet.labels[index])")
    }
  }

  private static func place(_ index: Int, _ positions: Int) -> String {
    "sample \(index / positions)" + (positions == 1 ? "" : ", position \(index % positions)")
  }

  /// At which positions a cache of rows with these labels has records; `nil` for one record per view.
  ///
  /// - Parameters:
  ///   - asked: what the job says; `nil` for one row per view.
  ///   - rows: for errors.
  /// - Throws: `Problem` when rows and labels are at different positions.
  func positions(
    _ asked: ImportJob.Positions?, _ layout: ImportLayout, _ rows: ArrayFile
  ) throws -> Positions? {
    guard let asked, let places = layout.places else {
      guard positions == 1 else {
        throw Problem(
          .corrupt,
          "there are labels for \(positions) positions of a sample, and \(rows.name) has one row for each "
            + "view: say with --positions or --counts where rows of positions are")
      }
      return nil
    }
    var maximum = positions
    if positions == 1 {
      maximum = places.isPadded ? places.found : asked.maximum ?? max(2, places.found)
    }
    if let most = asked.maximum, most != maximum {
      throw Problem(
        .usage,
        "--max-positions is \(most), but \(positions > 1 ? "labels" : rows.name) say \(maximum): leave it out"
      )
    }
    guard places.isPadded ? places.found == maximum : places.found <= maximum else {
      throw Problem(
        .corrupt,
        "\(rows.name) has rows at \(places.found) positions of a view, "
          + (positions == 1
            ? "--max-positions is \(maximum)" : "there are labels for \(maximum) of a sample"))
    }
    guard (2...4096).contains(maximum) else {
      throw Problem(
        .usage,
        "\(rows.name) has \(counted(maximum, "position")) of a view, there must be 2...4096"
          + (maximum == 1 ? ": leave out --positions and --counts" : ""))
    }
    return Positions(maximum: maximum, labels: positions == 1 ? .sample : .position)
  }
}
