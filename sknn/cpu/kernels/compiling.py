"""Compilation of kernels to machine code, with only those of Numba's passes that kernels need.

A kernel and its helpers use numbers, vectors and tiles: no Python objects, no arrays, no
exceptions. So most of what Numba does for a function can be left out. Moreover, helpers are not
compiled to machine code on their own: their code becomes a part of the kernel's, and is inlined.

There are two halves, which two threads can run at the same time, each on a kernel of its own.
:func:`assembly` is Numba's, in Python, and calls nothing of LLVM, which waits while another thread
is in it. :func:`machine_code` is LLVM's, without the GIL.

Only this file and ``cache.py`` depend on private classes of Numba.
"""

import inspect
import operator
from functools import cached_property

from llvmlite import binding, ir
from numba.core import bytecode, callconv, compiler, funcdesc, typed_passes, types, untyped_passes
from numba.core.analysis import dead_branch_prune
from numba.core.cgutils import normalize_ir_text
from numba.core.codegen import CodeLibrary, JITCodeLibrary
from numba.core.cpu import CPUContext, CPUTargetOptions
from numba.core.descriptors import TargetDescriptor
from numba.core.imputils import Registry
from numba.core.lowering import Lower
from numba.core.target_extension import CPU, dispatcher_registry, target_registry
from numba.core.targetconfig import ConfigStack
from numba.core.transforms import canonicalize_cfg
from numba.core.typing import mathdecl
from numba.core.typing.context import BaseContext
from numba.core.typing.templates import (
    AbstractTemplate,
    RegistryLoader,
    _OverloadAttributeTemplate,
    _OverloadFunctionTemplate,
    infer_global,
    signature,
)


class _Extreme(AbstractTemplate):
    """The smallest or the largest of some numbers."""

    def generic(self, args, kws):
        if not args or not all(isinstance(type, types.Number) for type in args):
            return None
        common = self.context.unify_types(*args)
        return signature(common, *[common] * len(args))


class _Conversion(AbstractTemplate):
    """A number as one of another type."""

    def generic(self, args, kws):
        if len(args) != 1 or not isinstance(args[0], _NUMBERS):
            return None
        return signature(_CONVERSIONS[self.key], *args)


_CONVERSIONS = {bool: types.boolean, int: types.int64, float: types.float64}
_NUMBERS = types.Number, types.Boolean
_lowered = Registry("sknn")


def _extreme(is_better):
    def lower(context, builder, sig, args):
        compare = context.get_function(is_better, signature(types.boolean, *2 * [sig.return_type]))
        chosen = args[0]
        for value in args[1:]:
            chosen = builder.select(compare(builder, (value, chosen)), value, chosen)
        return chosen

    return lower


for _function, _is_better in (min, operator.lt), (max, operator.gt):
    _lowered.lower(_function, types.VarArg(types.Number))(_extreme(_is_better))
for _function in _CONVERSIONS:
    for _type in _NUMBERS:

        @_lowered.lower(_function, _type)
        def _convert(context, builder, sig, args):
            return context.cast(builder, args[0], sig.args[0], sig.return_type)


class _Loader(RegistryLoader):
    """Leaves out what Numba implements by functions, which it would compile for this."""

    def new_registrations(self, name):
        for one in super().new_registrations(name):
            if name == "attributes" and issubclass(one, _OverloadAttributeTemplate):
                continue
            if name == "globals" and isinstance(one[1], types.Function):
                templates = one[1].templates
                kept = [t for t in templates if not issubclass(t, _OverloadFunctionTemplate)]
                if not kept:
                    continue
                one = one[0], types.Function(kept)
            yield one


class _Typing(BaseContext):
    """What the results of operations are, without those that Numba compiles functions for."""

    def init(self):
        templates = {min: _Extreme, max: _Extreme} | dict.fromkeys(_CONVERSIONS, _Conversion)
        for function, template in templates.items():
            own = type(template.__name__, (template,), {"key": function})
            self.insert_global(function, types.Function(own))

    def load_additional_registries(self):
        self.install_registry(mathdecl.registry)

    def install_registry(self, registry):
        if registry not in self._registries:
            self._registries[registry] = _Loader(registry)
        super().install_registry(registry)


class _Context(CPUContext):
    """How operations are lowered: those on numbers, without arrays and other objects."""

    def load_additional_registries(self):
        from numba.cpython import builtins, mathimpl, numbers, rangeobj, tupleobj  # noqa: F401

        self.install_registry(_lowered)
        self.install_registry(mathimpl.registry)

    @cached_property
    def _header(self):
        module = super().create_module("")
        return module.triple, module.data_layout

    def create_module(self, name):
        module = ir.Module(normalize_ir_text(name))
        module.triple, module.data_layout = self._header
        return module

    def post_lowering(self, module, library):
        pass  # it would link what counts references to objects

    def get_abi_sizeof(self, type):
        return 0  # for debuggers, and asked for even if there is no information for these


class _Target(TargetDescriptor):
    """Both contexts, which are apart from those of Numba's own functions."""

    options = CPUTargetOptions

    @cached_property
    def typing_context(self):
        return _Typing()

    @cached_property
    def target_context(self):
        return _Context(self.typing_context, "sknn")


class _Kernels(CPU):
    pass


class _Dispatcher:
    targetdescr = target = _Target("sknn")


target_registry["sknn"], dispatcher_registry[_Kernels] = _Kernels, _Dispatcher


def context():
    """Return the context of all kernels."""
    return _Dispatcher.target.target_context


class _Code(CodeLibrary):
    """LLVM's assembly of a function, symbol by symbol, and what it calls."""

    def __init__(self, codegen, name):
        super().__init__(codegen, name)
        self._symbols, self._needs = {}, {}

    def create_ir_module(self, name):
        return context().create_module(name)

    def add_linking_library(self, library):
        self._needs[library] = None

    def add_ir_module(self, ir_module):
        for name, symbol in ir_module.globals.items():
            if _is_function(symbol):
                defined = not symbol.is_declaration
            else:
                defined = symbol.initializer is not None
            if defined and name != self.name:
                symbol.linkage = "internal"
                if _is_function(symbol):
                    symbol.attributes.add("alwaysinline")
            if _is_function(symbol):
                for block in symbol.blocks:
                    for instruction in block.instructions:
                        instruction.metadata.clear()  # which stays behind in the module
            if defined or name not in self._symbols:
                self._symbols[name] = defined, str(symbol)

    def _all_needed(self):
        found = {self: None}
        for library in self._needs:
            found |= library._all_needed()
        return found

    def module(self):
        """Return the assembly of all that is needed."""
        symbols = {}
        for library in self._all_needed():
            for name, (is_defined, text) in library._symbols.items():
                if is_defined:
                    other = symbols.get(name, (False, None))
                    assert not other[0] or other[1] == text, name
                if is_defined or name not in symbols:
                    symbols[name] = is_defined, text
        header = str(self.create_ir_module(self.name))
        return normalize_ir_text("\n".join([header, *(text for _, text in symbols.values())]))

    def finalize(self):
        raise NotImplementedError

    get_function = get_llvm_str = get_asm_str = finalize


def _is_function(symbol):
    return isinstance(symbol, ir.Function)


class Library(JITCodeLibrary):
    """Machine code that is ready to be called."""

    def __init__(self, name, code):
        super().__init__(context().codegen(), name)
        self.enable_object_caching()
        self._set_compiled_object(code)
        self._finalize_final_module()

    def address(self, entry):
        """Return the address of a function."""
        return self._codegen._engine.get_function_address(entry)


def _compile(function, arguments, result, name):
    """Return the code of a function, how Numba calls it, and the type of its result."""
    flags, state = compiler.Flags(), compiler.StateDict()
    CPUTargetOptions.parse_as_flags(flags, {"error_model": "numpy"})
    target = context().subtarget(error_model=callconv.create_error_model("numpy", context()))
    code = _Code(target.codegen(), name)
    state.func_id, state.flags = bytecode.FunctionIdentity.from_function(function), flags
    state.args, state.locals = arguments, {}
    with ConfigStack().enter(flags):
        for one in untyped_passes.ExtractByteCode, untyped_passes.TranslateByteCode:
            one().run_pass(state)
        state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
        dead_branch_prune(state.func_ir, arguments)
        untyped_passes.ReconstructSSA().run_pass(state)
        types_of, result, calls, _ = typed_passes.type_inference_stage(
            target.typing_context, target, state.func_ir, arguments, result
        )
        state.typemap, state.return_type, state.calltypes = types_of, result, calls
        for one in typed_passes.PreLowerStripPhis, typed_passes.IRLegalization:
            one().run_pass(state)
        described = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir, types_of, result, calls, mangler=target.mangler, inline=False,
            noalias=False, abi_tags=[flags.get_mangle_string()],
        )  # fmt: skip
        with target.push_code_library(code):
            Lower(target, code, described, state.func_ir, metadata={}).lower()
    return code, described, result


def register_jitable(function):
    """Have kernels call a function: for the types of the arguments, which are all positional."""
    n_arguments, compiled = len(inspect.signature(function).parameters), {}

    class Helper(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            if kws or len(args) != n_arguments:
                return None
            if args not in compiled:
                code, described, compiled[args] = _compile(
                    function, args, None, function.__qualname__
                )
                context().insert_user_function(function, described, [code])
            return signature(compiled[args], *args)

    infer_global(function, types.Function(Helper))
    return function


def assembly(function, arguments, symbol):
    """Return LLVM's assembly of a function without a result, for C to call by the name `symbol`.

    It is a list of modules, of which the first one has the function.
    """
    context().refresh()
    code, inner, _ = _compile(function, arguments, types.void, symbol)
    target = context()
    module = target.create_module(symbol)
    callee = ir.Function(
        module, target.call_conv.get_function_type(types.void, arguments), inner.llvm_func_name
    )
    wrapper = ir.Function(
        module,
        ir.FunctionType(ir.VoidType(), [target.get_value_type(t) for t in arguments]),
        symbol,
    )
    builder = ir.IRBuilder(wrapper.append_basic_block("entry"))
    target.call_conv.call_function(builder, callee, types.void, arguments, wrapper.args)
    builder.ret_void()
    code.add_ir_module(module)
    return code.module()


def machine_code(assembly):
    """Return the machine code of a module."""
    module = binding.parse_assembly(assembly, binding.create_context())
    module.verify()
    codegen = context().codegen()
    # It need not look for vectors: these are written as such.
    passes, builder = codegen._module_pass_manager(loop_vectorize=False, slp_vectorize=False)
    passes.run(module, builder)
    return codegen._tm.emit_object(module)
