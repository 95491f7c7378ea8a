/** One code of a `Diagnostic`: a title, and what its author should know. */
interface ErrorCodeEntry {
  readonly title: string
  readonly why: string
}

/** Every code of a `Diagnostic`. `docs/errors.md` is generated from this table, and every code has a test. */
export const errorCodes = {
  E0001: {
    title: 'syntax error',
    why: 'The file is not TypeScript. The message is that of the TypeScript parser.',
  },
  E0002: {
    title: 'syntax outside the language',
    why: 'Kernels are plain functions over numbers, arrays and objects. Classes, exceptions, generators, promises, `var`, `==`, `delete`, `typeof` and `new` have no meaning on a GPU, or a better spelling.',
  },
  E0003: {
    title: 'missing or stale source',
    why: 'Kernels are compiled from their TypeScript source, which is found beside the running file or through its source map. A bundle loses it; a source that was edited after the build may lack the kernel.',
  },
  E0004: {
    title: 'two kernels of one name',
    why: 'A kernel is found by its file and the name of its function.',
  },
  E0005: {
    title: 'import from a package',
    why: 'What a kernel reaches must be source that the compiler can read: files beside it, and this package. Imports that only the host uses are never looked at.',
  },
  E0006: {
    title: 'unknown name',
    why: 'The name is neither a variable in reach, nor a declaration or import of the file, nor one of the JavaScript globals that static code may use: Math, Number, Array, Object, String, Boolean.',
  },
  E0007: {
    title: 'unknown member',
    why: 'The value has no such member. Numbers have none at all: their functions are Math.max, f32 and the like.',
  },
  E0008: {
    title: 'run-time value outside a kernel',
    why: 'Constants at the top level of a file are evaluated while compiling. What depends on a thread or on memory belongs into a function that kernels call.',
  },
  E0009: {
    title: 'circular definition',
    why: 'Constants at the top level of files are evaluated on first use, and this one needs itself.',
  },
  E0010: {
    title: 'type error',
    why: "What TypeScript's own checker says, with its number. `quattuor check` shows it; compiling does not run the checker.",
  },
  E0101: {
    title: 'mixed types',
    why: 'Operators take two values of one type. Nothing converts by itself, because a silent conversion costs an instruction and may lose precision.',
  },
  E0102: {
    title: 'type without this operation',
    why: 'i8 and u8 are storage types and bf16 has no arithmetic on all targets: convert to f32 or i32 first. The table in docs/language.md lists the types of every operator.',
  },
  E0103: {
    title: 'wrong type',
    why: 'A place that has a type, by declaration or because a tensor has it, takes values of that type and static numbers that fit.',
  },
  E0104: {
    title: 'literal does not fit',
    why: 'A static number takes the type of the other operand. Integers must fit exactly; floats round to the nearest value and must not overflow.',
  },
  E0105: {
    title: 'integer division',
    why: 'TypeScript divides fractions, a GPU truncates. idiv says that truncation is meant.',
  },
  E0107: {
    title: 'not a condition',
    why: 'Run-time conditions are booleans: comparisons, and their combinations by &&, || and !.',
  },
  E0108: {
    title: 'static numbers without a type',
    why: 'A run-time condition that chooses between two static numbers makes a register, which needs a type.',
  },
  E0109: {
    title: 'run-time choice between containers',
    why: 'Which array or object a name means is decided while compiling. A run-time condition can only choose between numbers, or between the elements of containers of one shape.',
  },
  E0210: {
    title: 'static variable assigned at run time',
    why: 'A variable that starts from a static number is computed while compiling, so a run-time loop or condition cannot change it. Its declared type makes it a register.',
  },
  E0211: {
    title: 'shape changed at run time',
    why: 'Arrays and objects are static containers of registers; their lengths and fields are fixed where they are made.',
  },
  E0212: {
    title: 'run-time index into registers',
    why: 'Registers have no addresses. An index must be static, as in an unrolled loop, or the array must live in memory.',
  },
  E0213: {
    title: 'assignment to a constant',
    why: 'Only variables declared with let inside the kernel or its functions change.',
  },
  E0214: {
    title: 'assignment to what the kernel does not own',
    why: 'The configuration, tensors, layouts and strings do not change by assignment.',
  },
  E0301: {
    title: 'kernel too large',
    why: 'Unrolled loops and inlined calls multiply. The message lists the unrolled loops that cost most.',
  },
  E0302: {
    title: 'endless static evaluation',
    why: 'A loop over static values did not end within the budget.',
  },
  E0303: {
    title: 'return under run-time control',
    why: 'Calls are inlined. A return inside an `if` is understood; one inside a run-time loop or a run-time switch would have to jump out of both.',
  },
  E0304: {
    title: 'break under run-time control',
    why: 'An unrolled loop is a sequence of statements, so a run-time condition cannot leave it.',
  },
  E0305: {
    title: 'run-time switch falls through',
    why: 'A switch on a run-time value becomes a chain of ifs, in which nothing falls through.',
  },
  E0306: {
    title: 'assignment in the condition of a run-time loop',
    why: 'The condition is evaluated once while compiling to see whether it is static, so it must not change anything.',
  },
  E0307: {
    title: 'loop condition turned into a run-time value',
    why: 'A loop is unrolled if its condition is static in the first iteration; it must stay so.',
  },
  E0308: {
    title: 'recursion without end',
    why: 'Calls are inlined, so recursion must end on static values. A run-time condition does not end it: both of its sides are compiled.',
  },
  E0309: {
    title: 'staticAssert',
    why: "A rule of the kernel's author: this configuration is refused, for the reason given.",
  },
  E0401: {
    title: 'missing constant',
    why: 'The kernel reads a constant that the configuration does not have and that its type does not mark as optional.',
  },
  E0402: {
    title: 'store to an In tensor',
    why: 'In tensors are read, Out tensors are written, InOut tensors are both. The runtime relies on it.',
  },
  E0403: {
    title: 'load from an Out tensor',
    why: 'In tensors are read, Out tensors are written, InOut tensors are both. The runtime relies on it.',
  },
  E0404: {
    title: 'unknown shape word',
    why: 'dim takes one of the words in the type of the tensor.',
  },
  E0405: {
    title: 'wrong number of indices',
    why: 'at and put take one index per dimension, row fewer.',
  },
  E0406: {
    title: 'access past the end of a row',
    why: 'load and store take consecutive elements of the last dimension.',
  },
  E0407: {
    title: 'misaligned vector',
    why: 'An access of 4, 8 or 16 bytes must start at a multiple of its size and its bytes must lie side by side. Row lengths, static offsets and swizzles decide that.',
  },
  E0408: {
    title: 'copy between element types',
    why: 'Copies move bytes; the tile and the tensor must agree on what they mean.',
  },
  E0409: {
    title: 'not a parameter of a kernel',
    why: "Arguments are tensors, In<f32, 'M K'>, Out<…> and InOut<…>, or the scalars f32, i32 and u32.",
  },
  E0410: {
    title: 'constant is no extent',
    why: 'A shape word that is also a constant fixes a dimension, so the constant must be a positive integer.',
  },
  E0411: {
    title: 'Elem without its constant',
    why: "Elem<'dtype'> is the element type that the constant dtype spells.",
  },
  E0412: {
    title: 'impossible block or cluster',
    why: 'A CTA has 1 to 1024 threads, and a cluster 1, 2, 4 or 8 CTAs.',
  },
  E0413: {
    title: 'absent argument',
    why: 'An optional argument exists when the constant of its name is true; without it, its uses must be skipped.',
  },
  E0414: {
    title: 'wrong layout tag',
    why: 'A packed tensor says in its type how its elements lie. Reading it as another layout gives wrong numbers, so functions state the tag that they expect.',
  },
  E0415: {
    title: 'other CTAs without a cluster',
    why: 'peer(rank) and multicast name CTAs of the cluster. The option cluster of a kernel says how many it has.',
  },
  E0416: {
    title: 'not a copy for the copy engine',
    why: 'The copy engine copies multiples of 16 bytes from and to addresses that are multiples of 16, and tiles of at most 256 rows, columns and slabs whose layout is row-major or swizzled over the bytes of a row, from and to whole tensors.',
  },
  E0501: {
    title: 'wrong number of arguments',
    why: 'The function takes another number of arguments.',
  },
  E0502: {
    title: 'wrong argument',
    why: 'An argument is not of the kind that the function takes, or must be static and is not.',
  },
  E0503: {
    title: 'not iterable',
    why: 'Only arrays, unroll(…) and range(…) are iterated, and only arrays and objects spread.',
  },
  E0504: {
    title: 'index out of bounds',
    why: 'A static index is outside its array or dimension.',
  },
  E0505: {
    title: 'run-time value in static code',
    why: 'Layouts, dsl/math and methods that decide a length run while compiling and need static values.',
  },
  E0506: {
    title: 'static function failed',
    why: 'A function of the layout algebra or another static module refused its arguments, for the reason given.',
  },
  E0601: {
    title: 'shared memory beyond the target',
    why: 'The tiles of a CTA must fit the shared memory that the target gives to one CTA.',
  },
  E0602: {
    title: 'barrier under divergent control',
    why: 'All threads of a CTA must come to the same barrier; a condition that differs between threads makes some wait for ever.',
  },
  E0603: {
    title: 'warp operation under divergent control',
    why: 'Shuffles, votes, ldmatrix and mma are done by all lanes of a warp together.',
  },
  E0604: {
    title: 'instruction not on this target',
    why: 'The target lacks the instruction. target.capability chooses another way while compiling.',
  },
  E0605: {
    title: 'warpgroup operation under divergent control',
    why: 'wgmma, its fences and waits, and changes of the number of registers are done by the four warps of a warpgroup together.',
  },
  E0606: {
    title: 'register of a wgmma that runs',
    why: 'wgmma runs on while the threads do: its accumulators and the registers of A are not theirs until wgmmaWait covers the group that it was committed to.',
  },
  E0607: {
    title: 'wgmma without a fence',
    why: 'wgmmaFence orders what a thread did to accumulators and to the registers of A before the wgmmas that follow.',
  },
  E0608: {
    title: 'wgmma that no wait covers',
    why: 'A wait covers committed groups alone, and a kernel must wait for all that it has started.',
  },
  E0701: {
    title: 'accumulator does not fit the atom',
    why: 'mma updates the registers of its accumulator, whose number and type the atom fixes.',
  },
  E0702: {
    title: 'fragment does not fit the atom',
    why: 'A fragment is what one lane holds of a matrix, in 32-bit registers; the atom fixes how many.',
  },
  E0703: {
    title: 'not an atom',
    why: 'mma takes one of the instructions in dsl/atoms.',
  },
  E0704: {
    title: 'matrix operand that wgmma cannot read',
    why: 'wgmma reads matrices in shared memory row by row along K, in the layouts of swizzledTile.',
  },
} as const satisfies Record<string, ErrorCodeEntry>

export type ErrorCode = keyof typeof errorCodes
