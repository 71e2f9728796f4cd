/*
 * Tables and matrices of a run log: chunked datasets without an upper bound, to which rows are
 * added one at a time. Rows stay in HDF5's chunk cache until the log is flushed.
 */
#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "io/runlog.h"

#include <math.h>
#include <string.h>

/* A chunk is what is read and written at once, and what even a table of one row takes on disk. */
enum { CHUNK_BYTES = 8192, MOST_ROWS_PER_CHUNK = 256 };
enum { MOST_TEXT_BYTES = 65536, MOST_MATRIX_WIDTH = 65536 };

/* ---- Types ----------------------------------------------------------------------------------- */

static size_t column_bytes(const icot_column *column)
{
    if (column->kind == ICOT_COLUMN_TEXT) return (size_t)column->width;
    return column->kind == ICOT_COLUMN_BOOL ? 1 : 8;
}

static hid_t fixed_text_type(int width)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0) return -1;
    if (H5Tset_size(type, (size_t)width) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
        H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0) {
        return type;
    }
    H5Tclose(type);
    return -1;
}

/* The enumeration that h5py takes for a bool. */
static hid_t bool_type(void)
{
    const int8_t no = 0, yes = 1;
    hid_t type = H5Tenum_create(H5T_STD_I8LE);
    if (type < 0) return -1;
    if (H5Tenum_insert(type, "FALSE", &no) >= 0 && H5Tenum_insert(type, "TRUE", &yes) >= 0) {
        return type;
    }
    H5Tclose(type);
    return -1;
}

static hid_t column_type(const icot_column *column)
{
    switch (column->kind) {
    case ICOT_COLUMN_INT64:
        return H5Tcopy(H5T_STD_I64LE);
    case ICOT_COLUMN_FLOAT64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case ICOT_COLUMN_TEXT:
        return fixed_text_type(column->width);
    case ICOT_COLUMN_BOOL:
        return bool_type();
    }
    return -1;
}

/* A compound of all columns, without gaps between them. */
static hid_t table_type(const runlog_table *table)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, table->row_bytes);
    if (type < 0) return -1;
    size_t offset = 0;
    for (int i = 0; i < table->n_columns; i++) {
        hid_t member = column_type(&table->columns[i]);
        herr_t added = member < 0 ? -1 : H5Tinsert(type, table->columns[i].name, offset, member);
        if (member >= 0) H5Tclose(member);
        if (added < 0) {
            H5Tclose(type);
            return -1;
        }
        offset += column_bytes(&table->columns[i]);
    }
    return type;
}

/* ---- Making a table -------------------------------------------------------------------------- */

static int check_columns(const char *path, const icot_column *columns, int n)
{
    if (n < 1) return fail("table /%s: got %d columns, expected at least 1", path, n);
    for (int i = 0; i < n; i++) {
        const icot_column *c = &columns[i];
        if (c->kind < ICOT_COLUMN_INT64 || c->kind > ICOT_COLUMN_BOOL) {
            return fail("table /%s: column %s: kind %d is not known", path, c->name, (int)c->kind);
        }
        if (c->kind == ICOT_COLUMN_TEXT && (c->width < 1 || c->width > MOST_TEXT_BYTES)) {
            return fail("table /%s: column %s: got a width of %d, expected 1 to %d", path, c->name,
                        c->width, MOST_TEXT_BYTES);
        }
    }
    return ICOT_OK;
}

static void free_table(runlog_table *table)
{
    for (int i = 0; table->columns && i < table->n_columns; i++) {
        memory_free((void *)(uintptr_t)table->columns[i].name); /* our own copy */
    }
    memory_free(table->columns);
    memory_free(table->path);
    memory_free(table->row);
}

static int copy_columns(runlog_table *table, const icot_column *columns)
{
    void *block;
    if (memory_alloc_zero((size_t)table->n_columns, sizeof *columns, &block)) return ICOT_FAILED;
    table->columns = block;
    for (int i = 0; i < table->n_columns; i++) {
        char *name;
        if (memory_copy_string(columns[i].name, &name)) return ICOT_FAILED;
        table->columns[i] = columns[i];
        table->columns[i].name = name;
        table->row_bytes += column_bytes(&columns[i]);
    }
    return ICOT_OK;
}

static hsize_t rows_per_chunk(const runlog_table *table)
{
    size_t rows = CHUNK_BYTES / table->row_bytes;
    return rows < 1 ? 1 : rows > MOST_ROWS_PER_CHUNK ? MOST_ROWS_PER_CHUNK : rows;
}

/* What a single row is in memory and in the file. */
static int describe_row(icot_runlog *log, runlog_table *table)
{
    hsize_t one_row[2] = {1, (hsize_t)table->n_columns};
    table->row_space = H5Screate_simple(table->columns ? 1 : 2, one_row, NULL);
    table->row_type = table->columns ? table_type(table) : H5Tcopy(H5T_IEEE_F64LE);
    if (table->row_space >= 0 && table->row_type >= 0) return ICOT_OK;
    return runlog_fail(log, "cannot describe the table /%s", table->path);
}

/* The empty dataset: (0) compound for a table, (0, width) float64 for a matrix. */
static int create_dataset(icot_runlog *log, runlog_table *table)
{
    int status = ICOT_FAILED, rank = table->columns ? 1 : 2;
    hsize_t width = (hsize_t)table->n_columns;
    hsize_t start[2] = {0, width}, most[2] = {H5S_UNLIMITED, width};
    hsize_t chunk[2] = {rows_per_chunk(table), width};

    hid_t space = H5Screate_simple(rank, start, most);
    hid_t link = runlog_link_properties(), creation = H5Pcreate(H5P_DATASET_CREATE);
    if (space < 0 || link < 0 || creation < 0) goto done;
    if (H5Pset_chunk(creation, rank, chunk) < 0) goto done;
    table->dataset =
        H5Dcreate2(log->file, table->path, table->row_type, space, link, creation, H5P_DEFAULT);
    if (table->dataset >= 0) status = ICOT_OK;

done:
    if (status) runlog_fail(log, "cannot create the table /%s", table->path);
    if (creation >= 0) H5Pclose(creation);
    if (link >= 0) H5Pclose(link);
    if (space >= 0) H5Sclose(space);
    return status;
}

/* A dataset that is there already: its rows must be what we are going to add to them. */
static int open_dataset(icot_runlog *log, runlog_table *table)
{
    hsize_t size[2] = {0, (hsize_t)table->n_columns};
    table->dataset = H5Dopen2(log->file, table->path, H5P_DEFAULT);
    hid_t space = table->dataset < 0 ? -1 : H5Dget_space(table->dataset);
    hid_t type = table->dataset < 0 ? -1 : H5Dget_type(table->dataset);
    const int opened = space >= 0 && type >= 0;
    const int same = opened && H5Tequal(type, table->row_type) > 0 &&
                     H5Sget_simple_extent_ndims(space) == (table->columns ? 1 : 2) &&
                     H5Sget_simple_extent_dims(space, size, NULL) >= 0 &&
                     size[1] == (hsize_t)table->n_columns;
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    if (!opened) return runlog_fail(log, "/%s cannot be continued", table->path);
    if (!same) {
        return fail("run file %s: /%s cannot be continued: it has other columns", log->output.path,
                    table->path);
    }
    table->n_rows = size[0];
    return ICOT_OK;
}

/*
 * How many of `n` columns a table has that is there already. One that an older version began may
 * lack the last ones, and is continued without them; open_dataset compares the others.
 */
static int columns_there(const icot_runlog *log, const char *path, int n)
{
    hid_t dataset = H5Dopen2(log->file, path, H5P_DEFAULT);
    hid_t type = dataset < 0 ? -1 : H5Dget_type(dataset);
    const int is_table = type >= 0 && H5Tget_class(type) == H5T_COMPOUND;
    const int members = is_table ? H5Tget_nmembers(type) : n;
    if (type >= 0) H5Tclose(type);
    if (dataset >= 0) H5Dclose(dataset);
    return members > 0 && members < n ? members : n;
}

static void close_table(runlog_table *table)
{
    if (table->dataset >= 0) H5Dclose(table->dataset);
    if (table->row_type >= 0) H5Tclose(table->row_type);
    if (table->row_space >= 0) H5Sclose(table->row_space);
    table->dataset = table->row_type = table->row_space = -1;
}

/* Adds a table; `columns` is NULL for a matrix of `n` columns. */
static int add_table(icot_runlog *log, const char *path, const icot_column *columns, int n,
                     int *number)
{
    if (runlog_check_addable(log, path)) return ICOT_FAILED;
    int is_there;
    void *grown = log->tables, *row;
    if (runlog_has(log, path, &is_there)) return ICOT_FAILED;
    if (memory_resize(&grown, (size_t)(log->n_tables + 1) * sizeof(runlog_table))) {
        return ICOT_FAILED;
    }
    log->tables = grown;

    if (is_there && columns) n = columns_there(log, path, n);
    runlog_table table = {.n_columns = n, .dataset = -1, .row_type = -1, .row_space = -1};
    if (memory_copy_string(path, &table.path)) goto failed;
    if (columns && copy_columns(&table, columns)) goto failed;
    if (!columns) table.row_bytes = (size_t)n * sizeof(double);
    if (memory_alloc_zero(1, table.row_bytes, &row)) goto failed;
    table.row = row;
    if (describe_row(log, &table)) goto failed;
    if (is_there ? open_dataset(log, &table) : create_dataset(log, &table)) goto failed;

    log->tables[log->n_tables] = table;
    *number = log->n_tables++;
    return ICOT_OK;

failed:
    close_table(&table);
    free_table(&table);
    return ICOT_FAILED;
}

int icot_runlog_table(icot_runlog *log, const char *path, const icot_column *columns, int n_columns,
                      int *table)
{
    if (check_columns(path, columns, n_columns)) return ICOT_FAILED;
    return add_table(log, path, columns, n_columns, table);
}

int icot_runlog_matrix(icot_runlog *log, const char *path, int64_t width, int *table)
{
    if (width < 1 || width > MOST_MATRIX_WIDTH) {
        return fail("matrix /%s: got a width of %lld, expected 1 to %d", path, (long long)width,
                    MOST_MATRIX_WIDTH);
    }
    return add_table(log, path, NULL, (int)width, table);
}

void runlog_close_tables(icot_runlog *log)
{
    for (int i = 0; i < log->n_tables; i++) close_table(&log->tables[i]);
}

void runlog_free_tables(icot_runlog *log)
{
    runlog_close_tables(log);
    for (int i = 0; i < log->n_tables; i++) free_table(&log->tables[i]);
    memory_free(log->tables);
    log->tables = NULL;
    log->n_tables = 0;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static int put_integer(const char *path, const icot_column *column, double number, char *out)
{
    if (!(number == floor(number) && fabs(number) < 0x1p63)) {
        return fail("table /%s: column %s: got %g, expected an integer", path, column->name,
                    number);
    }
    int64_t value = (int64_t)number;
    memcpy(out, &value, sizeof value);
    return ICOT_OK;
}

static int put_cell(const char *path, const icot_column *column, double number, const char *text,
                    char *out)
{
    switch (column->kind) {
    case ICOT_COLUMN_INT64:
        return put_integer(path, column, number, out);
    case ICOT_COLUMN_FLOAT64:
        memcpy(out, &number, sizeof number);
        return ICOT_OK;
    case ICOT_COLUMN_BOOL:
        *out = number != 0.0;
        return ICOT_OK;
    case ICOT_COLUMN_TEXT:
        break;
    }
    if (!text) return fail("table /%s: column %s: got no text", path, column->name);
    utf8_copy(text, out, (size_t)column->width);
    return ICOT_OK;
}

/* Puts the row together as it stands in the file. */
static int fill_row(runlog_table *table, const double *numbers, const char *const *texts)
{
    if (!table->columns) {
        memcpy(table->row, numbers, table->row_bytes);
        return ICOT_OK;
    }
    char *cell = table->row;
    for (int i = 0; i < table->n_columns; i++) {
        const icot_column *column = &table->columns[i];
        const char *text = texts ? texts[i] : NULL;
        if (put_cell(table->path, column, numbers[i], text, cell)) return ICOT_FAILED;
        cell += column_bytes(column);
    }
    return ICOT_OK;
}

static int write_row(icot_runlog *log, runlog_table *table)
{
    int status = ICOT_FAILED;
    hsize_t width = (hsize_t)table->n_columns, size[2] = {table->n_rows + 1, width};
    hsize_t start[2] = {table->n_rows, 0}, count[2] = {1, width};
    hid_t space = -1;
    if (H5Dset_extent(table->dataset, size) < 0) goto done;
    if ((space = H5Dget_space(table->dataset)) < 0) goto done;
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) < 0) goto done;
    if (H5Dwrite(table->dataset, table->row_type, table->row_space, space, H5P_DEFAULT,
                 table->row) < 0) {
        goto done;
    }
    table->n_rows++;
    status = ICOT_OK;

done:
    if (status) runlog_fail(log, "cannot add a row to /%s", table->path);
    if (space >= 0) H5Sclose(space);
    return status;
}

int icot_runlog_append(icot_runlog *log, int table, const double *numbers, const char *const *texts)
{
    if (runlog_check(log)) return ICOT_FAILED;
    if (table < 0 || table >= log->n_tables) {
        return fail("run file %s: got table %d, there are %d", log->output.path, table,
                    log->n_tables);
    }
    if (fill_row(&log->tables[table], numbers, texts)) return ICOT_FAILED;
    return write_row(log, &log->tables[table]);
}
