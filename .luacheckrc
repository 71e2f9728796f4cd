-- luacheck: what `make lint` holds the Lua files to.
std = 'luajit'
max_line_length = 120
files['tests'] = { std = '+busted' }
