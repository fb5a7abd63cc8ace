"""Two ways to read a teacher's records one by one, in Python, as training code reads them.

A worker of `benchmarks replay`. It reads one command a line and answers each with one line of JSON:

  open FILE FOLDER K      FILE holds the records, FOLDER is for LMDB    -> {"bytes": LMDB's file}
  order FILE              sample numbers, .npy, to read from now on     -> {}
  check READER            sum of (i + 1) * (sum of the i-th one's ids)  -> {"sum": S}
  time READER SECONDS     the fastest pass of many                      -> {"nanoseconds": N}

A record is int32 seed, uint16 ids [K], float16 values [K]: the layout of TinyViT (Wu and others 2022,
arXiv:2207.10666). READER is

  file    seek, read, parse: TinyViT's reader without its dictionary of keys and its copies
  lmdb    one record a key (a big-endian number), one transaction for the whole pass, no copies

Parsing makes NumPy arrays of ids and values and stops there: no batch is put together.
"""

import json
import os
import struct
import sys
import time

import lmdb
import numpy


class Worker:
    def open(self, file, folder, k):
        self.k = int(k)
        self.size = 4 + 4 * self.k
        self.file = open(file, "rb")
        records = os.path.getsize(file) // self.size
        os.makedirs(folder)
        self.environment = lmdb.open(folder, map_size=1 << 24 | 4 * os.path.getsize(file))
        with self.environment.begin(write=True) as transaction:
            for index in range(records):
                transaction.put(struct.pack(">Q", index), self.file.read(self.size), append=True)
        return {"bytes": os.path.getsize(folder + "/data.mdb")}

    def order(self, file):
        self.samples = numpy.load(file).tolist()
        return {}

    def parse(self, record):
        return (
            numpy.frombuffer(record, numpy.uint16, self.k, 4),
            numpy.frombuffer(record, numpy.float16, self.k, 4 + 2 * self.k),
        )

    def read_file(self, use):
        file, size, parse = self.file, self.size, self.parse
        for index in self.samples:
            file.seek(index * size)
            use(parse(file.read(size)))

    def read_lmdb(self, use):
        pack, parse = struct.Struct(">Q").pack, self.parse
        with self.environment.begin(buffers=True) as transaction:
            for index in self.samples:
                use(parse(transaction.get(pack(index))))

    def check(self, reader):
        sums = []
        self.reader(reader)(lambda record: sums.append(int(record[0].sum(dtype=numpy.int64))))
        return {"sum": sum((i + 1) * s for i, s in enumerate(sums))}

    def time(self, reader, seconds):
        read = self.reader(reader)
        end = time.perf_counter() + float(seconds)
        times = []
        while len(times) < 2 or time.perf_counter() < end:
            start = time.perf_counter_ns()
            read(id)  # the cheapest use there is
            times.append(time.perf_counter_ns() - start)
        return {"nanoseconds": min(times)}

    def reader(self, name):
        return {"file": self.read_file, "lmdb": self.read_lmdb}[name]


def main():
    worker = Worker()
    major, minor, patch = lmdb.version()
    python = sys.version.split()[0]
    version = f"Python {python}, NumPy {numpy.__version__}, py-lmdb {lmdb.__version__}"
    print(json.dumps({"version": f"{version} (LMDB {major}.{minor}.{patch})"}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        answer = getattr(worker, command)(*arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
